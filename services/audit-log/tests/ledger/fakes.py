"""Handwritten ports: a ledger in memory that can fail at any step, files in a dictionary, a topic in a list."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from grace_audit_log.domain.entry import Entry, Place
from grace_audit_log.domain.tree import Growth, Head, LogIdentity
from grace_audit_log.ports import Committed, Position
from grace_common.contract.errors import Unready
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.tile import TileEdge

TIME = datetime(2026, 11, 22, tzinfo=UTC)
KEY = SeededKey("log")
LOG = LogIdentity(KEY.named("grace.local/log"), KEY.sign)


class Crash(Exception):
    """The process, or a server, died at this step."""


@dataclass
class Failures:
    """Which calls fail, counted over all ports."""

    at: set[int] = field(default_factory=set)
    calls: int = 0

    def step(self) -> None:
        self.calls += 1
        if self.calls in self.at:
            raise Crash(f"step {self.calls}")


@dataclass
class MemoryLedger:
    """Implements `LedgerWriter` and `LedgerReader`; what is committed survives every crash."""

    failures: Failures = field(default_factory=Failures)
    entries: list[Entry] = field(default_factory=list)
    heads: list[tuple[Head, bytes]] = field(default_factory=list)
    offset: int | None = None
    announced_size: int = 0
    taken: bool = False

    async def take_over(self) -> Head:
        self.failures.step()
        if self.taken:
            raise Unready("another audit-log writes")
        if not self.heads:
            checkpoint, note = LOG.checkpoint(TileEdge(), None)
            self.heads.append((Head(TileEdge(), checkpoint), note))
        return self.heads[-1][0]

    async def known(self, entry_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        self.failures.step()
        at = {entry.entry_id: index for index, entry in enumerate(self.entries)}
        return {id_: at[id_] for id_ in entry_ids if id_ in at}

    async def append(self, growth: Growth, entries: Sequence[Entry], position: Position) -> None:
        self.failures.step()
        if growth.before.edge.size != len(self.entries):
            raise Unready("the tree has grown")
        self.entries += entries
        self.heads.append((growth.after, growth.note))
        self.offset = position.offset
        self.failures.step()

    async def release(self) -> None:
        return None

    async def position(self, partition: int) -> int | None:
        return self.offset

    async def newest(self) -> Committed | None:
        self.failures.step()
        if not self.heads:
            return None
        head, note = self.heads[-1]
        return Committed(head.edge.size, head.edge.root, note, TIME)

    async def leaves(self, start: int, end: int) -> list[bytes]:
        return [entry.leaf for entry in self.entries[start:end]]

    async def places(self, start: int, end: int) -> list[Place]:
        return [_place(index, self.entries[index]) for index in range(start, min(end, len(self.entries)))]

    async def committed_at(self, nth: int) -> datetime | None:
        return TIME if len(self.heads) >= nth else None

    async def places_of(self, indices: Sequence[int]) -> list[Place]:
        return [_place(index, self.entries[index]) for index in indices]

    async def payloads_of(self, indices: Sequence[int]) -> list[bytes]:
        return [payload for index in indices if (payload := self.entries[index].payload) is not None]

    async def announced(self) -> int:
        return self.announced_size

    async def mark_announced(self, size: int, at: datetime) -> None:
        self.failures.step()
        self.announced_size = size


@dataclass
class MemoryFiles:
    """Implements `Publication`."""

    failures: Failures = field(default_factory=Failures)
    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise Unready(f"{path} is absent")
        return self.files[path]

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        for path, data in files:
            self.failures.step()
            self.files[path] = data

    def drop_partials(self, paths: Sequence[str]) -> None:
        self.failures.step()
        for path in paths:
            for name in [name for name in self.files if name.startswith(f"{path}.p/")]:
                del self.files[name]


@dataclass
class MemoryTopic:
    """Implements `Announcer`."""

    failures: Failures = field(default_factory=Failures)
    values: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def announce(self, values: Sequence[bytes]) -> None:
        self.failures.step()
        self.values += values
        self.arrived.set()
        self.failures.step()


def entry(number: int) -> Entry:
    return Entry(
        entry_id=UUID(int=number + 1),
        leaf=b"leaf %d" % number,
        entry_type="grace.task-submitted.v1",
        operation_id=UUID(int=7),
        correlation="task",
        actor="ada",
        service="gateway",
        time=TIME,
        payload=b"payload %d" % number,
    )


def _place(index: int, one: Entry) -> Place:
    return Place(
        index, one.entry_id, one.entry_type, one.operation_id, one.correlation, one.actor, one.service, one.time
    )
