"""The read model in a real PostgreSQL: idempotent, indifferent to order, searchable by all that the API offers."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from grace_common.contract.envelope import Attributes, Envelope, encode, parse
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import ApproachProposed, CandidateGenerated
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed, SealedEntry
from grace_common.contract.events.operation import (
    OperationFailed,
    OperationStarted,
    OperationSucceeded,
    RecordRefused,
    RequestRefused,
)
from grace_common.contract.events.round import OutcomeLearned, PoliciesPublished, RoundOpened, TaskCompleted
from grace_common.contract.events.task import EvaluationRequested, RedactionRequested, TaskSubmitted
from grace_common.runtime.database import Database
from grace_gateway.adapters import erasure
from grace_gateway.adapters.feed import PostgresFeed
from grace_gateway.adapters.view_store import PostgresViews
from grace_gateway.adapters.view_writer import PostgresViewWriter
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.ports import SubmissionQuery
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
OPERATION = UUID(int=0xAA)
_seconds = count()


def stated(event: Event, *, id_: UUID | None = None, actor: str = "ada") -> Envelope:
    """Return an envelope a second later than the one before."""
    time = NOON + timedelta(seconds=next(_seconds))
    return Envelope(id_ or uuid4(), "/grace/gateway", time, event.partition_key, None, OPERATION, actor, None, event)


def life(task_id: UUID) -> list[Envelope]:
    submitted = TaskSubmitted.example().model_copy(update={"task_id": task_id})
    rest = (ApproachProposed.example(), RoundOpened.example(), CandidateGenerated.example())
    return [stated(submitted, id_=task_id), *(stated(one.model_copy(update={"task_id": task_id})) for one in rest)]


async def write(database: Database, name: str, *envelopes: Envelope) -> None:
    async with database.transaction():
        await getattr(PostgresViewWriter(), name)(envelopes)


async def write_raw(database: Database, name: str, *records: Attributes) -> None:
    async with database.transaction():
        await getattr(PostgresViewWriter(), name)(records)


def attributes(event: Event, id_: UUID | None = None, **changes: Any) -> Attributes:
    """Return an envelope as it is parsed; `changes` are made to its data."""
    parsed = parse(encode(stated(event, id_=id_)))
    return {**parsed, "data": {**parsed["data"], **changes}}


async def states(database: Database, **wanted: Any) -> list[tuple[UUID, str]]:
    page = await PostgresViews(database).submissions(SubmissionQuery("task", 50, **wanted))
    return [(item["id"], item["state"]) for item in page.items]


async def test_facts_bring_a_task_further_whatever_their_order_and_however_often_they_come(database: Database) -> None:
    one, two = uuid4(), uuid4()
    await write(database, "add_facts", *life(one))
    backwards = life(two)[::-1]
    for _ in range(2):
        for envelope in backwards:
            await write(database, "add_facts", envelope)

    assert dict(await states(database)) == {one: "generating", two: "generating"}
    facts = await PostgresViews(database).facts(two)
    assert len({fact.id for fact in facts}) == 4
    assert facts[0].type == "grace.task-submitted.v1"


async def test_batches_about_one_task_at_the_same_time_agree_on_its_state(database: Database) -> None:
    task_id = uuid4()
    await asyncio.gather(*(write(database, "add_facts", envelope) for envelope in life(task_id)))
    completed = TaskCompleted.example().model_copy(update={"task_id": task_id})
    later = ApproachProposed.example().model_copy(update={"task_id": task_id})
    await asyncio.gather(*(write(database, "add_facts", stated(one)) for one in (completed, later, later)))

    assert await states(database) == [(task_id, "completed")]


async def test_submissions_are_listed_newest_first_page_by_page_and_by_state(database: Database) -> None:
    ids = [uuid4() for _ in range(5)]
    for id_ in ids:
        await write(database, "add_facts", *life(id_)[: 1 + (id_ == ids[2])])
    views = PostgresViews(database)

    first = await views.submissions(SubmissionQuery("task", 3, requester="ada"))
    assert first.next_cursor is not None
    second = await views.submissions(SubmissionQuery("task", 3, after=Cursor.decode(first.next_cursor)))

    assert [item["id"] for item in (*first.items, *second.items)] == ids[::-1]
    assert second.next_cursor is None
    assert await states(database, state="approach-proposed") == [(ids[2], "approach-proposed")]
    assert await states(database, waiting_for="guidance") == [(ids[2], "approach-proposed")]
    assert await states(database, requester="bo\0b") == []
    assert await views.requester_of(ids[0]) == "ada"
    assert (await views.requester_of(uuid4()), await views.facts(uuid4())) == (None, [])


async def test_text_that_postgresql_cannot_hold_does_not_stop_the_view(database: Database) -> None:
    event = EvaluationRequested.example()
    strange = event.specification.model_copy(update={"requirements": "nul\0l"})
    id_ = uuid4()
    await write(
        database,
        "add_facts",
        stated(event.model_copy(update={"evaluation_id": id_, "specification": strange}), id_=id_),
    )

    stored = await PostgresViews(database).submission(id_)
    assert stored is not None
    assert (stored.title, stored.fact.data["specification"]["requirements"]) == ("nul\ufffdl", "nul\0l")


async def test_an_operation_is_one_row_of_its_start_and_its_outcome_in_any_order(database: Database) -> None:
    started, succeeded = OperationStarted.example(), OperationSucceeded.example()
    failed = OperationFailed.example()
    orders: list[list[Event]] = [[started, failed, succeeded], [succeeded, started], [failed, succeeded, failed]]
    for split in (False, True):
        for order in orders:
            id_ = uuid4()
            records = [attributes(event, operation_id=str(id_)) for event in order]
            for group in [[one] for one in records] if split else [records]:
                await write_raw(database, "add_operations", *group)
            row = await PostgresViews(database).operation(id_)
            assert row is not None
            assert row["outcome"] == "succeeded"
            assert row["outcome_details"]["statements"][0]["table"] == "outbox"

    views = PostgresViews(database)
    page = await views.operations(subject=None, name="codegen.attempt", actor="ada", after=None, limit=4)
    assert (len(page.items), page.next_cursor is not None) == (4, True)
    assert await PostgresViews(database).operation(uuid4()) is None


async def test_a_refused_request_is_an_operation_that_was_refused(database: Database) -> None:
    records = attributes(RequestRefused.example()), attributes(RecordRefused.example())
    await write_raw(database, "add_operations", *records)

    row = await PostgresViews(database).operation(OPERATION)
    assert row is not None
    assert (row["outcome"], row["outcome_details"]["status"]) == ("refused", 422)


@pytest.mark.parametrize(
    ("event", "changes", "says"),
    [
        (OperationStarted, {"operation_id": 7}, "operation_id"),
        (OperationStarted, {"operation_id": "no uuid"}, "operation_id"),
        (OperationStarted, {"parent_id": []}, "parent_id"),
        (OperationStarted, {"deadline": 0}, "deadline"),
        (OperationStarted, {"why": None}, "why"),
        (OperationSucceeded, {"actor": {"name": "ada"}}, "actor"),
        (RequestRefused, {"path": 1}, "path"),
    ],
)
async def test_an_operation_that_is_not_as_its_schema_says_is_refused(
    database: Database, event: type[Event], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        await write_raw(database, "add_operations", attributes(event.example(), **changes))


async def test_a_record_whose_data_is_no_object_is_refused(database: Database) -> None:
    for event, name in ((OperationFailed, "add_operations"), (EntriesSealed, "add_ledger")):
        with pytest.raises(Refused, match="invalid"):
            await write_raw(database, name, {**attributes(event.example()), "data": ["no", "object"]})


async def test_an_operation_whose_time_names_no_timezone_is_refused(database: Database) -> None:
    with pytest.raises(Refused, match="timezone"):
        await write_raw(
            database,
            "add_operations",
            {**attributes(OperationFailed.example()), "time": "2026-11-22T12:00:00"},
        )


def sealed(index: int, **changes: Any) -> SealedEntry:
    values: dict[str, Any] = {
        "index": index,
        "entry_id": UUID(int=index),
        "entry_type": "grace.task-submitted.v1",
        "operation_id": OPERATION,
        "correlation": "task-1",
        "actor": "ada",
        "service": "gateway",
        "time": NOON + timedelta(minutes=index),
    }
    return SealedEntry(**{**values, **changes})


@pytest.mark.parametrize(
    ("conditions", "indexes"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"newest_first": False}, [0, 1, 2, 3, 4]),
        ({"after": 3}, [2, 1, 0]),
        ({"after": 3, "newest_first": False}, [4]),
        ({"operation_id": UUID(int=1)}, [1]),
        ({"operation_ids": (UUID(int=1), OPERATION)}, [4, 3, 2, 1, 0]),
        ({"operation_ids": ()}, []),
        ({"correlation": "task-2"}, [2]),
        ({"actor": "bob"}, [3]),
        ({"entry_type": "cryptographic_key_generated"}, [0]),
        ({"entry_types": ("cryptographic_key_generated", "x")}, [0]),
        ({"service": "consensus"}, [4]),
        ({"since": NOON + timedelta(minutes=1), "until": NOON + timedelta(minutes=3)}, [2, 1]),
        ({"limit": 2}, [4, 3]),
    ],
)
async def test_the_ledger_is_searched_by_each_condition(
    database: Database, conditions: dict[str, Any], indexes: list[int]
) -> None:
    entries = (
        sealed(0, entry_type="cryptographic_key_generated"),
        sealed(1, operation_id=UUID(int=1)),
        sealed(2, correlation="task-2"),
        sealed(3, actor="bob"),
        sealed(4, service="consensus"),
    )
    event = EntriesSealed(entries=entries, tree_size=5)
    await write_raw(database, "add_ledger", *map(attributes, (event, event, CheckpointPublished.example())))

    found = await PostgresViews(database).ledger(LedgerQuery(**{"limit": 50, **conditions}))

    assert [entry["index"] for entry in found] == indexes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"entry_id": "no uuid"}, "entry_id"),
        ({"time": "yesterday"}, "time"),
        ({"index": None}, "index"),
        ({"index": 2**63}, "their table"),
        ({"actor": None}, "actor"),
    ],
)
async def test_entries_that_are_not_as_their_schema_says_are_refused(
    database: Database, changes: dict[str, Any], says: str
) -> None:
    good = attributes(EntriesSealed(entries=(sealed(0),), tree_size=1))
    entry = {**good["data"]["entries"][0], **changes}

    with pytest.raises(Refused, match=says):
        await write_raw(database, "add_ledger", good, {**good, "data": {"entries": [entry], "tree_size": 1}})

    assert await PostgresViews(database).ledger(LedgerQuery(limit=50)) == []


async def test_a_table_that_is_missing_is_not_blamed_on_the_entries(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE ledger_entry RENAME TO gone"))
        with pytest.raises(ProgrammingError):
            await PostgresViewWriter().add_ledger([attributes(EntriesSealed.example())])
        await connection.rollback()


async def test_the_newest_word_on_a_certificate_counts(database: Database) -> None:
    issued = stated(CertificateIssued.example())
    revoked = stated(CertificateIssued.example().model_copy(update={"revoked_at": NOON, "reason": "lost"}))
    await write(database, "add_certificates", issued)
    await write(database, "add_certificates", revoked)
    await write(database, "add_certificates", issued)
    views = PostgresViews(database)

    found = await views.certificate("3f2a")
    assert found is not None
    assert (found["revoked_at"], found["certificate"]) == (NOON, "MA==")
    assert [row["key_id"] for row in await views.certificates("gateway")] == ["3f2a"]
    assert (await views.certificates("nobody"), await views.certificate("x")) == ([], None)


async def test_dead_letters_policies_and_lessons_are_kept_once(database: Database) -> None:
    learned = OutcomeLearned.example()
    for _ in range(2):
        await write(database, "add_dead_letters", stated(RecordDeadLettered.example()))
        await write(database, "add_facts", stated(PoliciesPublished.example()), stated(learned))
    views = PostgresViews(database)

    letters = await views.dead_letters(consumer="consensus", after=None, limit=10)
    [letter] = await views.dead_letter(RecordDeadLettered.example().refusal_id)
    [policy] = await views.policies()
    lessons = await views.memory(search="calculating -factorial", outcome="completed", after=None, limit=10)

    assert ([item["code"] for item in letters.items], letter["value_bytes"]) == (["malformed"], 8)
    expressions = PoliciesPublished.example().policies[0].expressions
    assert (policy["name"], policy["expressions"]) == ("approval", dict(expressions))
    assert [item["lesson"] for item in lessons.items] == [learned.lesson]
    assert (await views.memory(search="factorial", outcome=None, after=None, limit=10)).items == []
    await views.ping()


async def begun(feed: PostgresFeed, database: Database) -> None:
    """Return once the feed follows: what was written before it began, it hands out to nobody."""
    for _ in range(300):
        task_id = uuid4()
        with feed.watch(task_id) as heard, suppress(TimeoutError):
            await write(database, "add_facts", *life(task_id))
            async with asyncio.timeout(0.2):
                await heard.wait()
                return
    raise TimeoutError("the feed does not follow")


async def test_listeners_hear_of_every_fact_in_order_and_slow_ones_are_let_go(database: Database) -> None:
    views = PostgresViews(database)
    feed = PostgresFeed(database, views, buffer=4)
    running = asyncio.create_task(feed.run())
    task_id = uuid4()
    try:
        await begun(feed, database)
        async with asyncio.timeout(30), feed.subscribe() as live, feed.subscribe() as slow:
            with feed.watch(task_id) as heard:
                await write(database, "add_facts", *life(task_id))
                first = await anext(live)
                await heard.wait()
            positions = [one.position for one in first]
            for _ in range(6):
                await write(database, "add_facts", *life(uuid4()))
                positions += [one.position for one in await anext(live)]
            received = [batch async for batch in slow]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert positions == sorted(positions)
    assert await views.position_of(task_id) == positions[0]
    assert await views.position_of(uuid4()) is None
    assert len(received) < 7


async def test_what_the_ledger_redacts_is_erased_from_every_table(database: Database) -> None:
    task_id = uuid4()
    facts = life(task_id)
    learned = stated(OutcomeLearned.example().model_copy(update={"task_id": task_id, "lesson": "secret lesson"}))
    ended = attributes(OperationSucceeded.example())
    sealed = sealed_operation(ended, 7)
    await write(database, "add_facts", *facts, learned)
    await write_raw(database, "add_operations", ended)
    await write_raw(database, "add_ledger", attributes(EntriesSealed(entries=(sealed,), tree_size=8)))

    asked = [facts[0].id, learned.id, UUID(ended["id"])]
    await write(
        database,
        "add_facts",
        *(stated(RedactionRequested(index=7, entry_id=id_, reason="a name", by="olga")) for id_ in asked),
    )

    views = PostgresViews(database)
    shown = [fact.data for fact in await views.facts(task_id) if fact.id == facts[0].id]
    assert {data["specification"]["requirements"] for data in shown} == {"[redacted]"}
    assert {(data["task_id"], data["candidates"]) for data in shown} == {(str(task_id), 0)}
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT title FROM submission"))).scalar() == "[redacted]"
        assert (await connection.execute(text("SELECT count(*) FROM memory"))).scalar() == 0
        assert (await connection.execute(text("SELECT count(*) FROM operation WHERE data IS NOT NULL"))).scalar() == 0
    assert [item["state"] for item in (await views.submissions(SubmissionQuery("task", 9))).items] == ["generating"]


def sealed_operation(ended: Attributes, index: int) -> SealedEntry:
    return SealedEntry(
        index=index,
        entry_id=UUID(ended["id"]),
        entry_type="grace.operation-succeeded.v1",
        operation_id=UUID(ended["data"]["operation_id"]),
        correlation="x",
        actor="ada",
        service="gateway",
        time=NOON,
    )


@pytest.mark.parametrize(("index", "left"), [(7, 0), (8, 1)])
async def test_an_operation_is_forgotten_when_the_entry_at_the_place_named_is_its_own(
    database: Database, index: int, left: int
) -> None:
    ended = attributes(OperationSucceeded.example())
    await write_raw(database, "add_operations", ended)
    await write_raw(
        database, "add_ledger", attributes(EntriesSealed(entries=(sealed_operation(ended, 7),), tree_size=8))
    )

    asked = RedactionRequested(index=index, entry_id=UUID(ended["id"]), reason="a name", by="olga")
    await write(database, "add_facts", stated(asked))

    async with database.reading() as connection:
        kept = await connection.execute(text("SELECT count(*) FROM operation WHERE data IS NOT NULL"))
        assert kept.scalar() == left


async def test_what_is_redacted_is_found_among_many_entries_by_their_primary_keys_alone(database: Database) -> None:
    many = [attributes(OperationSucceeded.example(), uuid4()) for _ in range(3)]
    sealed = tuple(sealed_operation(one, 10_000 + at) for at, one in enumerate(many))
    await write_raw(database, "add_operations", *many)
    await write_raw(database, "add_ledger", attributes(EntriesSealed(entries=sealed, tree_size=10_003)))
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO ledger_entry SELECT at, gen_random_uuid(), 'grace.operation-succeeded.v1', "
                "gen_random_uuid(), 'x', 'ada', 'gateway', now() FROM generate_series(20000, 40000) AS at"
            )
        )
        await connection.execute(text("ANALYZE ledger_entry"))

    ids, indices = [one.entry_id for one in sealed], [one.index for one in sealed]
    async with database.reading() as connection:
        explain = text(f"EXPLAIN (FORMAT TEXT) {erasure._FORGET_OPERATIONS.text}")
        plan = "\n".join((await connection.execute(explain, {"ids": ids, "indices": indices})).scalars())

    assert "ledger_entry_pkey" in plan
    assert "Seq Scan on ledger_entry" not in plan
