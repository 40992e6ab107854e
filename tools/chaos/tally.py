"""What a stranger sees of the log while everything dies: each published checkpoint, and in the end each entry."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

from grace_common.contract.errors import Refused, Unready
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.tile import WIDTH, TreeReader

_LOOK_EVERY_S: Final = 0.02
_SUCCEEDED: Final = "grace.operation-succeeded.v1"


@dataclass(frozen=True, slots=True)
class Folder:
    """The published files; implements the formats' `TileReader`."""

    folder: Path

    def read(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError as error:
            raise Unready(f"{path} is not published") from error


@dataclass
class Follower:
    """Reads every checkpoint that it can catch, and holds it against the one before.

    checked     how many were proven to continue the one before
    violations  what was ever published that may never be
    """

    log: Folder
    key: VerifierKey
    newest: Checkpoint | None = None
    checked: int = 0
    violations: list[str] = field(default_factory=list)
    _note: bytes = b""

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Read the checkpoint that is published now, and check it if it is another than the last."""
        try:
            note = self.log.read("checkpoint")
            if note == self._note:
                return
            found = open_checkpoint(note, self.key).checkpoint
            problem = self._problem(found)
        except Unready:
            return  # a partial tile went while this was reading: a newer checkpoint is there
        except Refused as error:
            found, problem = None, f"a checkpoint that does not verify: {error}"
        if problem is not None:
            self.violations.append(problem)
        else:
            self.checked += 1
        self._note = note
        self.newest = found or self.newest

    def _problem(self, found: Checkpoint) -> str | None:
        old = self.newest
        if old is None:
            return None
        if found.size < old.size:
            return f"the log shrank from {old.size} to {found.size} entries"
        try:
            root = TreeReader(self.log, found.size, found.root).root_at(old.size)
        except Refused as error:
            return f"the tiles of {found.size} entries do not lead to their root: {error}"
        return None if root == old.root else f"the tree of {found.size} entries does not begin with that of {old.size}"


@dataclass
class Tally:
    """Every entry of the published log by its id, read as it grows and verified against its checkpoint.

    seen       ids of entries; 16 bytes of a UUID, or the digest of a leaf that has none
    doubled    ids that came again
    succeeded  operations of the gateway whose success is an entry
    """

    log: Folder
    key: VerifierKey
    size: int = 0
    seen: set[bytes] = field(default_factory=set)
    doubled: list[str] = field(default_factory=list)
    succeeded: set[str] = field(default_factory=set)

    def advance(self) -> None:
        """Read the entries that were published since the last call."""
        try:
            found = open_checkpoint(self.log.read("checkpoint"), self.key).checkpoint
            tree = TreeReader(self.log, found.size, found.root)
            for number in range(self.size // WIDTH, (found.size + WIDTH - 1) // WIDTH):
                self._take(tree.bundle(number)[self.size - number * WIDTH :])
        except Unready:
            return  # the files went on while this was reading: the next call sees them

    def _take(self, leaves: Iterable[bytes]) -> None:
        for leaf in leaves:
            _, statement = read_leaf(leaf)
            id_ = sha256(leaf).digest() if statement is None else UUID(statement.id).bytes
            if id_ in self.seen:
                self.doubled.append(id_.hex())
            self.seen.add(id_)
            if statement is not None and statement.type == _SUCCEEDED and statement.service == "gateway":
                self.succeeded.add(statement.operation_id)
            self.size += 1
