"""What a witness must never forget: of each log, the newest checkpoint that it cosigned, in one file."""

import fcntl
import json
import os
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.transparency.note import Note
from grace_common.transparency.strict import Malformed, parse_json, read_object, read_string
from grace_common.transparency.witness import Seen, origin_hash

_VERSION: Final = 1


class WitnessFile:
    """The file of a running witness, which holds its lock: two witnesses on one file could cosign two histories.

    raises  Refused while another process holds the file, Malformed when it is damaged, OSError
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{file}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Refused(f"another witness runs on {file}") from error
        try:
            self._notes = _read(file)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def origins(self) -> list[str]:
        """The logs that were ever cosigned."""
        return sorted(self._notes)

    def seen(self, origin: str) -> Seen:
        """Return the newest tree of a log that was cosigned."""
        note = self._notes.get(origin)
        return Seen() if note is None else Seen.of(note)

    def note(self, origin: str) -> Note | None:
        """Return the newest cosigned checkpoint of a log, with the lines of the log's keys that were trusted then."""
        return self._notes.get(origin)

    def newest(self, hashed_origin: str) -> bytes | None:
        """Return the newest cosigned checkpoint of the log whose origin has this hash; None when there is none."""
        return next(
            (note.encode() for origin, note in self._notes.items() if origin_hash(origin) == hashed_origin), None
        )

    def keep(self, origin: str, cosigned: Note) -> None:
        """Remember what was cosigned; it is on the disk when this returns. After an OSError nobody may see it."""
        notes = self._notes | {origin: cosigned}
        stored = {"version": _VERSION, "logs": {name: note.encode().decode() for name, note in notes.items()}}
        draft = f"{self._file}.new"
        with open(draft, "w", encoding="utf-8") as out:
            json.dump(stored, out, ensure_ascii=False, indent=1)
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, self._file)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._notes = notes

    def close(self) -> None:
        """Let another process have the file."""
        os.close(self._lock)


def _read(file: Path) -> dict[str, Note]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    stored = read_object(parse_json(data, str(file)), str(file), ("version", "logs"))
    if stored["version"] != _VERSION or not isinstance(stored["logs"], dict):
        raise Malformed(f"{file} is no memory of a witness of version {_VERSION}")
    notes = {origin: Note.parse(read_string(note, origin).encode()) for origin, note in stored["logs"].items()}
    for origin, note in notes.items():
        Seen.of(note)
        if not note.text.startswith(f"{origin}\n"):
            raise Malformed(f"{file} has the checkpoint of another log under {origin}")
    return notes
