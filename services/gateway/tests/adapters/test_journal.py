"""The journal against a real PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid5

import pytest
from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.events.operation import OperationSucceeded
from grace_common.contract.events.task import ApprovalGiven, TaskSubmitted, fibonacci
from grace_common.runtime.database import Database
from grace_common.runtime.outbox import Outbox
from grace_gateway.adapters.journal import PostgresJournal
from grace_gateway.adapters.view_store import PostgresViews
from grace_gateway.domain.submission import submission_of
from grace_gateway.ports import Entry
from sqlalchemy import text

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TASK = UUID("019ac000-0000-7000-8000-000000000001")
OPERATION = UUID("019ac000-0000-7000-8000-00000000000f")


def submitted(task_id: UUID = TASK, requester: str = "ada") -> Envelope:
    event = TaskSubmitted(task_id=task_id, requester=requester, specification=fibonacci())
    return Envelope(task_id, "/grace/gateway", NOW, str(task_id), None, OPERATION, requester, None, event)


def entry(envelope: Envelope, digest: bytes = b"1" * 32) -> Entry:
    return Entry([], [envelope], submission_of(envelope, digest))


async def outbox_ids(database: Database) -> list[UUID]:
    async with database.reading() as connection:
        return list(await connection.scalars(text("SELECT event_id FROM outbox ORDER BY position")))


async def test_a_submission_is_durable_with_its_fact_when_commit_returns(database: Database) -> None:
    journal = PostgresJournal(database, Outbox(database))

    assert await journal.commit(entry(submitted())) is None

    stored = await PostgresViews(database).submission(TASK)
    assert stored == submission_of(submitted(), b"1" * 32)
    assert await outbox_ids(database) == [TASK]
    assert await journal.backlog() == 1


async def test_the_second_submission_of_one_id_gets_the_first_and_states_nothing(database: Database) -> None:
    journal = PostgresJournal(database, Outbox(database))
    await journal.commit(entry(submitted()))

    before = await journal.commit(entry(replace(submitted(), actor="bob"), b"2" * 32))

    assert before == submission_of(submitted(), b"1" * 32)
    assert await outbox_ids(database) == [TASK]


async def test_of_concurrent_submissions_with_one_id_exactly_one_is_new(database: Database) -> None:
    journal = PostgresJournal(database, Outbox(database))

    results = await asyncio.gather(*(journal.commit(entry(submitted(), bytes([n] * 32))) for n in range(20)))

    assert sum(result is None for result in results) == 1
    assert await outbox_ids(database) == [TASK]


async def test_two_instances_agree_on_who_was_first(database: Database) -> None:
    journals = [PostgresJournal(database, Outbox(database)) for _ in range(4)]
    ids = [uuid5(TASK, str(n)) for n in range(10)]

    results = await asyncio.gather(*(journal.commit(entry(submitted(id_))) for journal in journals for id_ in ids))

    assert sum(result is None for result in results) == len(ids)
    assert sorted(await outbox_ids(database)) == sorted(ids)


def recorded(number: int) -> Envelope:
    """Return the record of an operation by which somebody submitted the task."""
    return replace(submitted(), id=uuid5(OPERATION, str(number)), event=OperationSucceeded.example())


async def test_a_submission_that_is_repeated_states_its_operation_and_nothing_else(database: Database) -> None:
    journal = PostgresJournal(database, Outbox(database))

    results = await asyncio.gather(
        *(journal.commit(replace(entry(submitted()), envelopes=[recorded(n)])) for n in range(3)),
        journal.commit(replace(entry(submitted(), b"2" * 32), envelopes=[recorded(3)])),
        journal.commit(Entry([recorded(4)])),
    )

    same = submission_of(submitted(), b"1" * 32)
    assert results == [None, same, same, same, None]
    assert (await outbox_ids(database))[:2] == [TASK, recorded(0).id]
    assert set(await outbox_ids(database)) == {TASK, *(recorded(n).id for n in (0, 1, 2, 4))}


async def test_the_relay_is_woken_once_a_group_is_durable(database: Database) -> None:
    outbox = Outbox(database)

    await PostgresJournal(database, outbox).commit(entry(submitted()))

    assert outbox.wake.is_set()


async def test_nothing_of_an_entry_is_kept_when_the_work_beside_it_fails(database: Database) -> None:
    outbox = Outbox(database)

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await PostgresJournal(database, outbox).commit_with(entry(submitted()), fail)

    assert await outbox_ids(database) == []
    assert not outbox.wake.is_set()


async def test_an_approval_is_kept_byte_for_byte(database: Database) -> None:
    approval = replace(submitted(), event=ApprovalGiven.example())

    await PostgresJournal(database, Outbox(database)).commit(Entry([], [approval]))

    assert await PostgresViews(database).approval_records([TASK]) == {TASK: encode(approval)}
