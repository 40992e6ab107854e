"""What the ledger's writer and publisher need of the outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.note import NoteSignature, VerifierKey

from grace_audit_log.domain.entry import Entry, Place
from grace_audit_log.domain.tree import Growth, Head, LogIdentity


@dataclass(frozen=True, slots=True)
class Position:
    """One record of the signature topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Committed:
    """One committed checkpoint."""

    size: int
    root: bytes
    note: bytes
    committed_at: datetime


class LogKeys(Protocol):
    """The log's own keys while commands and key directories change which of them sign."""

    def identity(self) -> LogIdentity:
        """Return who signs now."""
        ...

    def follow(self, directories: Sequence[bytes]) -> LogIdentity:
        """Return who signs the tree that contains these signed versions of the key directory besides."""
        ...

    def settle(self) -> None:
        """Follow what is published, and let go of a key that has ended; once its successor's checkpoint is there."""
        ...


class OwnSuccession(Protocol):
    """How the log's keys stand, for whoever replaces them by policy."""

    def identity(self) -> LogIdentity:
        """Return who signs now."""
        ...

    def directory(self) -> KeyDirectory | None:
        """Return the newest key directory that is known here; None before the first."""
        ...

    def successor(self) -> VerifierKey:
        """Return the key that shall succeed the one that leads; it is made unless it waits already.

        raises  Refused while two keys sign, or none
        """
        ...


class LedgerWriter(Protocol):
    """The write side. One instance at a time holds it."""

    async def take_over(self) -> Head:
        """Become the writer and return the tree's head; the first writer of all commits the empty tree.

        raises  Unready while another instance writes
        """
        ...

    async def known(self, entry_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """Return the index of each of these entries that is in the ledger already."""
        ...

    async def append(self, growth: Growth, entries: Sequence[Entry], position: Position) -> None:
        """Commit entries, payloads, tiles, checkpoint and position: all of it or nothing.

        raises  Unready when the tree is no longer the one that `growth` began with
        """
        ...

    async def release(self) -> None:
        """Stop being the writer, whatever state the connection is in."""
        ...


class Entries(Protocol):
    """The committed entries, by index."""

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the leaves from index `start` up to, not including, `end`."""
        ...

    async def places(self, start: int, end: int) -> Sequence[Place]:
        """Return where the entries from `start` up to `end` stand, and what they can be searched by."""
        ...


class LedgerReader(Entries, Protocol):
    """The read side, for publication and start-up."""

    async def position(self, partition: int) -> int | None:
        """Return the offset of the newest record of a partition that the ledger contains; None: none of them."""
        ...

    async def newest(self) -> Committed | None:
        """Return the newest checkpoint; None before the first start."""
        ...

    async def committed_at(self, nth: int) -> datetime | None:
        """Return when the checkpoint was committed that is the n-th, the newest being the first; None: so few are."""
        ...

    async def places_of(self, indices: Sequence[int]) -> list[Place]:
        """Return the same for single entries, in ascending order."""
        ...

    async def payloads_of(self, indices: Sequence[int]) -> list[bytes]:
        """Return what these entries are about, in ascending order of index, where it is kept."""
        ...

    async def announced(self) -> int:
        """Return the size below which every entry was announced; 0 at the beginning."""
        ...

    async def mark_announced(self, size: int, at: datetime) -> None:
        """Remember that every entry below `size` was announced."""
        ...


class Publication(Protocol):
    """The log's static files."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises Unready when it is not there."""
        ...

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Write files, each replaced in one step; all are durable when this returns."""
        ...

    def drop_partials(self, paths: Sequence[str]) -> None:
        """Remove the partial tiles beside these full ones."""
        ...


class OutsideWitness(Protocol):
    """A witness of another operator, which keeps a memory of this log."""

    async def cosign(self, note: bytes) -> NoteSignature:
        """Return its cosignature on a checkpoint, verified with the key that the operator named.

        raises  LogDisputed when it has seen another history, Refused for any other answer, Unready when none comes
        """
        ...


class Announcer(Protocol):
    """The topic grace.ledger.v1."""

    async def announce(self, values: Sequence[bytes]) -> None:
        """Produce records in order; returns when the broker has acknowledged all of them."""
        ...
