"""What was verified so far: keys announced, and the right edge reached. In memory, or in a file to resume from."""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from grace_common.contract.errors import Refused
from grace_common.transparency.tile import TileEdge

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    from grace_cli.verifying.keys import Announced, KeyName

_VERSION: Final = 3  # 2 did not look for what keys signed that had ended
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key (
    owner TEXT NOT NULL, key_id TEXT NOT NULL, public_key BLOB NOT NULL, PRIMARY KEY (owner, key_id)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification came.

    edge        the right edge of the entries verified, a whole number of bundles
    checkpoint  the newest checkpoint whose whole tree was verified, empty before the first
    """

    edge: TileEdge
    checkpoint: str = ""


class State:
    """The keys that verified entries announced, on disk as they may be many, and the progress beside them.

    path      None: a temporary file that goes with the process
    about     what is verified, with which key: a state of anything else is refused
    formerly  keys that the log's key succeeds: a state of one of them is gone on with
    ended     keys of the signer that have ended, and the first entry that names a key directory which says so
    raises    CliError for a file that is no such state, or a state of another log
    """

    def __init__(self, path: Path | None, about: dict[str, str], formerly: Collection[str] = ()) -> None:
        self._path = path
        self._about = about | {"version": str(_VERSION)}
        self._formerly = formerly
        self.begun_with = about.get("log", "")  # the log's key when this state was written last
        self.ended: dict[KeyName, int] = {}
        self._digest = 0  # sum of the digests of all keys, modulo 2^256: their order does not matter
        try:
            self._file = sqlite3.connect(str(path) if path is not None else "")
            self._file.executescript(_TABLES)
            row = self._file.execute("SELECT value FROM state").fetchone()
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from error
        self.progress = self._opened(row[0]) if row is not None else Progress(TileEdge())

    @property
    def kept(self) -> bool:
        """Whether a later verification can begin here, so that progress is worth its cost."""
        return self._path is not None

    def find(self, name: "KeyName") -> bytes | None:
        """Return the public key of this name, if an earlier entry announced it."""
        row = self._file.execute("SELECT public_key FROM key WHERE owner = ? AND key_id = ?", name).fetchone()
        return row[0] if row is not None else None

    def published(self) -> "dict[KeyName, bytes]":
        """Return the keys of the signer itself: few, and needed everywhere."""
        from grace_cli.verifying.keys import PURPOSES

        marks = ", ".join("?" * len(PURPOSES))
        rows = self._file.execute(f"SELECT owner, key_id, public_key FROM key WHERE owner IN ({marks})", PURPOSES)
        return {(owner, key_id): public_key for owner, key_id, public_key in rows}

    def learn(self, keys: "list[Announced]") -> None:
        """Remember keys that verified entries announced."""
        for key in keys:
            row = (*key.name, key.public_key)
            if self._file.execute("INSERT OR IGNORE INTO key VALUES (?, ?, ?)", row).rowcount:
                self._digest = (self._digest + _number(*row)) % (1 << 256)

    def reach(self, edge: TileEdge, checkpoint: str = "") -> None:
        """Record that everything up to this edge was verified, and, when complete, under which checkpoint."""
        self.progress = Progress(edge, checkpoint or self.progress.checkpoint)
        if self._path is None:
            return
        value: dict[str, Any] = self._about | {
            "size": edge.size,
            "root": edge.root.hex(),
            "tails": [tail.hex() for tail in edge.tails],
            "checkpoint": self.progress.checkpoint,
            "keys": f"{self._digest:064x}",
            "ended": [[*name, index] for name, index in self.ended.items()],
        }
        value["sha256"] = _digest(value)
        self._file.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (json.dumps(value),))
        self._file.commit()

    def close(self) -> None:
        """Let go of the file; what `reach` recorded stays."""
        self._file.rollback()
        self._file.close()

    def _opened(self, text: str) -> Progress:
        try:
            value: dict[str, Any] = json.loads(text)
            said = value.pop("sha256")
            if said != _digest(value):
                raise Refused("its own digest does not match")
            self.begun_with = str(value.get("log"))
            accepted = {name: {about} for name, about in self._about.items()}
            accepted.get("log", set()).update(self._formerly)
            if foreign := [name for name, allowed in accepted.items() if value.get(name) not in allowed]:
                raise CliError(
                    f"{self._path} is the state of another verification: its {foreign[0]} is "
                    f"{value.get(foreign[0])}, not {self._about[foreign[0]]}",
                    "name another file with --resume; a new one begins anew",
                    Exit.USAGE,
                )
            edge = TileEdge.of_tails(value["size"], [bytes.fromhex(tail) for tail in value["tails"]])
            if edge.root.hex() != value["root"]:
                raise Refused("its tiles do not lead to its root")
            kept = self._file.execute("SELECT owner, key_id, public_key FROM key")
            self._digest = sum(_number(*row) for row in kept) % (1 << 256)
            if f"{self._digest:064x}" != value["keys"]:
                raise Refused("its keys were changed")
            self.ended = {(owner, key_id): index for owner, key_id, index in value["ended"]}
            return Progress(edge, value["checkpoint"])
        except (ValueError, KeyError, TypeError, Refused, sqlite3.Error) as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from error

    def _unusable(self, why: str) -> CliError:
        return CliError(
            f"{self._path} is no state of a verification, or was damaged: {why}",
            "remove it, and all is verified from the beginning",
            Exit.USAGE,
        )


def _number(owner: str, key_id: str, public_key: bytes) -> int:
    return int.from_bytes(sha256(f"{owner} {key_id} {public_key.hex()}".encode()).digest(), "big")


def _digest(value: dict[str, Any]) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
