"""The keys that a log was signed with before the one that is given, where key directories in the log itself list them.

A directory counts when an entry names it and it follows, root by root, from the first version. That is known once the
entries are verified; until then a checkpoint may rest on a key that is only listed, and `unvouched` says so at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from grace_common.contract.errors import Refused
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.ed25519 import SignatureInvalid
from grace_common.transparency.note import VerifierKey

if TYPE_CHECKING:
    from grace_cli.verifying.state import State


@dataclass(frozen=True, slots=True)
class Listed:
    """A key of the log that a directory lists.

    version, digest  of the first that lists it
    until            index of the entry that names the first which says that it has ended; None: none does, or unknown
    """

    version: int
    digest: bytes
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Signers:
    """The keys with which checkpoints of one log may be signed: those that the reader gave, and those listed."""

    given: tuple[VerifierKey, ...]
    listed: Mapping[VerifierKey, Listed] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """All of them, the given ones first."""
        return tuple(dict.fromkeys((*self.given, *self.listed)))

    def open(self, note: bytes) -> tuple[Checkpoint, VerifierKey | None]:
        """Return a signed checkpoint, and the listed key that it rests on; None when one that was given signed it.

        raises  Malformed; SignatureInvalid when none of them signed it, or one alone that had ended before
        """
        opened = open_checkpoint(note, self.keys)
        for key in opened.signers:
            if key in self.given:
                return opened.checkpoint, None
            until = self.listed[key].until
            if until is None or opened.checkpoint.size <= until:
                return opened.checkpoint, key
        key = opened.signers[0]
        raise SignatureInvalid(
            f"it is signed with {key} alone, which had ended: entry {self.listed[key].until} names the key directory "
            "that says so"
        )

    def unvouched(self, relied_on: Sequence[VerifierKey], state: "State") -> list[str]:
        """Return what is wrong with listed keys: no verified entry names the directory that lists them."""
        from grace_cli.verifying.keys import DIRECTORY

        return [
            f"checkpoints are signed with {key}, which nobody vouches for: no entry names version {found.version} of "
            "the key directory, which lists it"
            for key in dict.fromkeys(relied_on)
            if (found := self.listed[key]) and state.find((DIRECTORY, str(found.version))) != found.digest
        ]


def listed_keys(origin: str, versions: Sequence[bytes], places: Sequence[int | None] = ()) -> dict[VerifierKey, Listed]:
    """Return the keys of a log that these versions of the key directory list.

    versions  signed, the first one first; where one does not follow the one before, it and what comes after count not
    places    the index of the entry that names each, where it is known
    """
    from grace_common.transparency.directory import follow_all

    found: dict[VerifierKey, Listed] = {}
    for number in range(1, len(versions) + 1):
        try:
            directory = follow_all(versions[:number])
        except Refused:
            break
        place = places[number - 1] if places else None
        in_use = directory.log_keys(origin, in_use=True)
        for key in directory.log_keys(origin):
            known = found.get(key) or Listed(number, sha256(versions[number - 1]).digest())
            if key not in in_use and known.until is None:
                known = Listed(known.version, known.digest, place)
            found[key] = known
    return found
