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
from grace_common.transparency.directory import KeyDirectory, follow_all
from grace_common.transparency.note import SignatureType, VerifierKey
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.tile import WIDTH, TreeReader

_LOOK_EVERY_S: Final = 0.02
_SUCCEEDED: Final = "grace.operation-succeeded.v1"


@dataclass(slots=True)
class Log:
    """The published files and the key that a stranger goes by; implements the formats' `TileReader`.

    key    another as soon as the stranger is told of the log's next one, and from then on that one alone
    older  those before, the newest first
    """

    folder: Path
    key: VerifierKey
    older: tuple[VerifierKey, ...] = ()

    def succeed(self, key: VerifierKey) -> None:
        """Go by the log's next key."""
        self.older, self.key = (self.key, *self.older), key

    def read(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError as error:
            raise Unready(f"{path} is not published") from error

    def note(self) -> tuple[bytes, VerifierKey]:
        """Return the published checkpoint and the key that must have signed it; raises Unready."""
        key = self.key
        note = self.read("checkpoint")
        if key is not self.key:
            raise Unready("the stranger was told of another key while the checkpoint was read")
        return note, key

    def directory(self) -> KeyDirectory | None:
        """Return the newest key directory, followed from its first version; None before there is one.

        raises  Refused when a version does not follow the one before
        """
        signed = [file.read_bytes() for file in sorted((self.folder / "keys").glob("[0-9]*.json"))]
        return follow_all(signed) if signed else None

    def witness(self) -> VerifierKey | None:
        """Return the key of Grace's witness that the key directory lists as in use; raises Refused."""
        known = self.directory()
        in_use = [] if known is None else [key for key in known.of("witness") if key.not_after is None]
        return VerifierKey(str(in_use[-1].name), in_use[-1].public_key, SignatureType.COSIGNATURE) if in_use else None

    def cosigned(self) -> int:
        """Return the size of the published checkpoint that this key cosigned, 0 while there is none."""
        witness = self.witness()
        try:
            note = self.read("checkpoint.cosigned")
            return open_checkpoint(note, self.key, [witness] if witness else [], quorum=1).checkpoint.size
        except (Unready, Refused):
            return 0


@dataclass
class Follower:
    """Reads every checkpoint that it can catch, and holds it against the one before.

    checked     how many were proven to continue the one before
    violations  what was ever published that may never be
    """

    log: Log
    newest: Checkpoint | None = None
    checked: int = 0
    violations: list[str] = field(default_factory=list)
    _seen: tuple[bytes, VerifierKey] | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Read the checkpoint that is published now, and check it if it is another than the last."""
        try:
            note, key = self.log.note()
            if (note, key) == self._seen:
                return
            found = open_checkpoint(note, key).checkpoint
            problem = self._problem(found)
        except Unready:
            return  # a partial tile went while this was reading: a newer checkpoint is there
        except Refused as error:
            found, problem = None, f"a checkpoint that does not verify: {error}"
        if problem is not None:
            self.violations.append(problem)
        else:
            self.checked += 1
        self._seen = note, key
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

    log: Log
    size: int = 0
    seen: set[bytes] = field(default_factory=set)
    doubled: list[str] = field(default_factory=list)
    succeeded: set[str] = field(default_factory=set)

    def advance(self) -> None:
        """Read the entries that were published since the last call."""
        try:
            found = open_checkpoint(*self.log.note()).checkpoint
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
