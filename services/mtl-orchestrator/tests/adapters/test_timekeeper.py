"""Timers and the statement of policies, on a real PostgreSQL."""

import asyncio
from datetime import datetime
from functools import partial
from uuid import UUID

import pytest
from grace_common.contract import envelope
from grace_common.contract.events.base import Event
from grace_common.contract.events.round import PoliciesPublished
from grace_common.runtime.database import Database
from grace_common.runtime.operation import Recorder
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.tables import outbox
from grace_common.testing.clock import FixedClock
from grace_common.testing.events import NOON, TASK, task_submitted
from grace_mtl_orchestrator.adapters.memory import PostgresMemory
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.adapters.policy_log import PolicyLog
from grace_mtl_orchestrator.adapters.task_store import TaskStore
from grace_mtl_orchestrator.adapters.timekeeper import Timekeeper
from grace_mtl_orchestrator.domain.task import Submission
from grace_mtl_orchestrator.handlers import expire, hear
from grace_mtl_orchestrator.ports import Ports
from sqlalchemy import select

POLICIES = load(packaged())


class Desk:
    """A timekeeper over one database, with a clock that stands still."""

    def __init__(
        self,
        database: Database,
        published: PoliciesPublished | None = None,
        clock: FixedClock | None = None,
        log: PolicyLog | None = None,
        tasks: TaskStore | None = None,
    ) -> None:
        self.database = database
        self.clock = clock or FixedClock(NOON)
        self.ports = Ports(tasks=TaskStore(database), memory=PostgresMemory(5), policies=POLICIES)
        self.timekeeper = Timekeeper(
            database,
            tasks or TaskStore(database),
            log or PolicyLog(),
            self.clock,
            expire=partial(expire, self.ports),
            published=published or PoliciesPublished(policies=POLICIES),
            poll_s=0.01,
        )
        Recorder("mtl-orchestrator", Outbox(database), self.clock).install()

    async def submit(self, deadline_s: int = 60, task_id: UUID = TASK) -> None:
        event = task_submitted(deadline_s=deadline_s, task_id=task_id)
        async with self.database.transaction():
            await hear(task_id, Submission(event=event, policies=POLICIES, lessons=()), self.ports, NOON)

    async def stated(self) -> list[Event]:
        """Everything in the outbox but operations."""
        async with self.database.reading() as connection:
            values = await connection.scalars(select(outbox.c.value).order_by(outbox.c.position))
            events = [envelope.open(value).event for value in values]
        return [event for event in events if event.TOPIC.name != "grace.operation.v1"]


async def test_an_overdue_task_fails_and_says_so_once(database: Database) -> None:
    desk = Desk(database)
    await desk.submit()

    assert await desk.timekeeper.handle_due() == 0
    desk.clock.advance(61)
    assert await desk.timekeeper.handle_due() == 1
    assert await desk.timekeeper.handle_due() == 0

    assert [type(event).__name__ for event in await desk.stated()] == ["TaskFailed", "OutcomeLearned"]


async def test_two_timekeepers_at_once_end_a_task_once(database: Database) -> None:
    one, other = Desk(database), Desk(database)
    await one.submit()
    one.clock.advance(61)
    other.clock.advance(61)

    await asyncio.gather(one.timekeeper.handle_due(), other.timekeeper.handle_due())

    assert [type(event).__name__ for event in await one.stated()] == ["TaskFailed", "OutcomeLearned"]


async def test_policies_are_stated_when_they_change_and_not_at_every_start(database: Database) -> None:
    before = PoliciesPublished(policies=POLICIES)
    after = PoliciesPublished(policies=POLICIES[1:])

    clock = FixedClock(NOON)
    for published in (before, before, after, after, before):
        await Desk(database, published, clock).timekeeper.publish()

    assert await Desk(database).stated() == [before, after, before]


class Watched(TaskStore):
    """Tells when due timers are looked for a second time: what the first look found is done then."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.looks = 0
        self.looked_again = asyncio.Event()

    async def due(self, now: datetime, limit: int) -> list[UUID]:
        self.looks += 1
        if self.looks == 2:
            self.looked_again.set()
        return await super().due(now, limit)


class LostTwice(PolicyLog):
    """A database that is away at first."""

    def __init__(self) -> None:
        self.attempts = 0

    async def enter(self, published: PoliciesPublished) -> bool:
        self.attempts += 1
        if self.attempts < 3:
            raise ConnectionRefusedError("the database restarts")
        return await super().enter(published)


class Broken(PolicyLog):
    async def enter(self, published: PoliciesPublished) -> bool:
        raise ZeroDivisionError


async def test_a_running_timekeeper_waits_out_an_outage_then_states_the_policies_and_watches_the_clock(
    database: Database,
) -> None:
    tasks = Watched(database)
    desk = Desk(database, log=LostTwice(), tasks=tasks)
    await desk.submit()
    desk.clock.advance(61)

    running = asyncio.create_task(desk.timekeeper.run())
    await tasks.looked_again.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert [type(event).__name__ for event in await desk.stated()] == [
        "PoliciesPublished",
        "TaskFailed",
        "OutcomeLearned",
    ]


async def test_a_bug_stops_the_timekeeper_loudly(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await Desk(database, log=Broken()).timekeeper.run()
