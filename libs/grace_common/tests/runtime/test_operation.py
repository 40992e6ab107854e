"""The six-W record of every piece of work, as it stands in a real outbox."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid5

import pytest
from grace_cli.testing.deployment import Deployment
from grace_common.contract import envelope
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.decision import OptionsDecided
from grace_common.contract.events.operation import OperationFailed, OperationStarted, OperationSucceeded
from grace_common.runtime.database import Database
from grace_common.runtime.operation import (
    DEADLINE,
    Operation,
    Recorder,
    current_operation,
    digest,
    fingerprint,
    operation,
    operation_context,
    state,
    table_of,
)
from grace_common.runtime.outbox import Outbox
from grace_common.testing.clock import FixedClock
from grace_common.testing.events import NOON
from sqlalchemy import text

CANARY = "hunter2-s3cret"


class Books:
    """A recorder's database, with what was recorded in it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FixedClock()
        self.recorder = Recorder("code-gen", Outbox(database), self.clock)

    async def recorded(self) -> list[Envelope]:
        async with self.database.reading() as connection:
            values = (await connection.execute(text("SELECT value FROM outbox ORDER BY position"))).scalars()
            return [envelope.open(value) for value in values]

    async def told(self) -> list[tuple[str, str]]:
        """What kind of record, about which operation."""
        return [(type(one.event).__name__, getattr(one.event, "name", "-")) for one in await self.recorded()]


@pytest.fixture
async def books(deployment: Deployment) -> AsyncIterator[Books]:
    database = deployment.database("code-gen")
    async with database.transaction() as connection:
        await connection.execute(text("TRUNCATE outbox"))
    yield Books(database)
    async with database.transaction() as connection:
        await connection.execute(text("TRUNCATE outbox"))
    await database.close()


async def test_a_request_is_recorded_with_its_six_ws(books: Books) -> None:
    books.recorder.install()

    async with operation_context("gateway.submit", actor="ada", subject="task-1", why="POST /api/tasks") as running:
        running.note(method="POST", size=7)
        assert current_operation() is running
    assert current_operation() is None

    started, succeeded = await books.recorded()
    assert isinstance(started.event, OperationStarted)
    assert isinstance(succeeded.event, OperationSucceeded)
    assert (started.actor, started.event.service, started.source) == ("ada", "code-gen", "/grace/code-gen")
    assert (started.event.name, started.event.subject, started.event.why) == (
        "gateway.submit",
        "task-1",
        "POST /api/tasks",
    )
    assert (started.time, started.correlation, started.operation) == (books.clock.now(), "task-1", running.id)
    assert succeeded.event.attributes == {"method": "POST", "size": "7"}
    assert (started.id, succeeded.id) == (uuid5(running.id, OperationStarted.TYPE), uuid5(running.id, "outcome"))


async def test_statements_are_collected_with_table_and_rows_and_without_values(books: Books) -> None:
    books.recorder.install()

    async with operation_context("codegen.look", actor="ada"), books.database.transaction() as connection:
        for id_ in (1, 2):
            await connection.execute(
                text(f"INSERT INTO inbox (consumer, event_id) VALUES ('{CANARY}', :id) ON CONFLICT DO NOTHING"),
                {"id": UUID(int=id_)},
            )
        await connection.execute(text("DELETE FROM inbox WHERE consumer = :consumer"), {"consumer": CANARY})

    succeeded = (await books.recorded())[-1].event
    assert isinstance(succeeded, OperationSucceeded)
    found = {(one.table, one.fingerprint.split()[0]): (one.count, one.rows) for one in succeeded.statements}
    assert found[("inbox", "INSERT")] == (2, 2)
    assert found[("inbox", "DELETE")] == (1, 2)
    assert CANARY not in succeeded.model_dump_json()


async def test_nested_work_is_a_child_and_names_its_parent(books: Books) -> None:
    books.recorder.install()

    @operation("codegen.attempt")
    async def attempt(number: int) -> str:
        return f"program {number}"

    async with operation_context("codegen.round", actor="ada", subject="task-1", id=UUID(int=9)) as parent:
        assert [await attempt(1), await attempt(2)] == ["program 1", "program 2"]

    records = [one for one in await books.recorded() if isinstance(one.event, OperationSucceeded)]
    first, second, outer = (one.event for one in records)
    assert isinstance(first, OperationSucceeded)
    assert isinstance(second, OperationSucceeded)
    assert (first.name, first.parent_id, first.subject, first.actor) == ("codegen.attempt", parent.id, "task-1", "ada")
    assert [first.operation_id, second.operation_id] == [
        uuid5(parent.id, "codegen.attempt#0"),
        uuid5(parent.id, "codegen.attempt#1"),
    ]
    assert first.result_sha256 == digest("program 1")
    assert getattr(outer, "name", "") == "codegen.round"


async def test_work_that_reaches_outside_has_its_start_on_record_before_it_begins(books: Books) -> None:
    books.recorder.install()
    seen: list[list[tuple[str, str]]] = []

    @operation("codegen.ask_model", outside=True)
    async def ask() -> None:
        seen.append(await books.told())

    await ask()

    assert seen == [[("OperationStarted", "codegen.ask_model")]]
    assert await books.told() == [
        ("OperationStarted", "codegen.ask_model"),
        ("OperationSucceeded", "codegen.ask_model"),
    ]
    started = (await books.recorded())[0].event
    assert isinstance(started, OperationStarted)
    assert started.deadline == books.clock.now() + DEADLINE


async def test_outside_work_does_not_run_inside_a_transaction(books: Books) -> None:
    books.recorder.install()

    @operation("codegen.ask_model", outside=True)
    async def ask() -> None:
        """Never reached."""

    async with books.database.transaction():
        with pytest.raises(RuntimeError, match="must not run inside a transaction"):
            await ask()


@pytest.mark.parametrize("error", [Refused("the seal is wrong"), ValueError(CANARY), asyncio.CancelledError()])
async def test_a_failure_is_recorded_and_says_what_grace_said_but_not_what_others_did(
    books: Books, error: BaseException
) -> None:
    books.recorder.install()

    with pytest.raises(type(error)):
        async with operation_context("codegen.look", actor="ada"):
            raise error

    _, failed = await books.recorded()
    assert isinstance(failed.event, OperationFailed)
    assert failed.event.error == type(error).__name__
    assert failed.event.message == ("the seal is wrong" if isinstance(error, Refused) else "see the service's log")
    assert CANARY not in failed.event.model_dump_json()


@operation("codegen.attempt")
async def broken() -> None:
    raise Refused("it broke")


async def test_a_childs_failure_is_recorded_after_its_transaction_has_rolled_back(books: Books) -> None:
    books.recorder.install()

    with pytest.raises(Refused):
        async with operation_context("codegen.round", actor="ada"), books.database.transaction():
            await broken()

    assert await books.told() == [
        ("OperationStarted", "codegen.attempt"),
        ("OperationFailed", "codegen.attempt"),
        ("OperationStarted", "codegen.round"),
        ("OperationFailed", "codegen.round"),
    ]


async def test_a_childs_failure_that_was_survived_is_recorded_too(books: Books) -> None:
    books.recorder.install()

    async with operation_context("codegen.round", actor="ada"), books.database.transaction():
        with pytest.raises(Refused):
            await broken()

    assert await books.told() == [
        ("OperationStarted", "codegen.attempt"),
        ("OperationFailed", "codegen.attempt"),
        ("OperationStarted", "codegen.round"),
        ("OperationSucceeded", "codegen.round"),
    ]


async def test_facts_stated_within_an_operation_carry_it_and_are_named_in_its_outcome(books: Books) -> None:
    books.recorder.install()

    async with operation_context("consensus.decide", actor="ada", subject="d", correlation="d") as running:
        [fact] = await state([OptionsDecided.example()])

    assert (fact.operation, fact.actor, fact.correlation) == (running.id, "ada", "d")
    outcome = (await books.recorded())[-1].event
    assert isinstance(outcome, OperationSucceeded)
    assert outcome.wrote == (fact.id,)


async def test_facts_belong_to_an_operation(books: Books) -> None:
    with pytest.raises(RuntimeError, match="running service"):
        await state([OptionsDecided.example()])
    with pytest.raises(RuntimeError, match="running service"):
        async with operation_context("a.b"):
            """Never reached."""


async def test_without_a_running_service_the_decorator_only_calls_through() -> None:
    @operation("codegen.attempt")
    async def attempt() -> int:
        assert current_operation() is None
        return 7

    assert await attempt() == 7


def made(cause: UUID) -> Operation:
    return Operation(uuid5(cause, "a.b"), "a.b", "a", "ada", "s", "c", "why", NOON, cause=cause)


def test_handling_an_event_again_gives_every_record_the_same_id() -> None:
    def ids(running: Operation) -> list[UUID]:
        facts = [running.envelope(OptionsDecided.example(), NOON) for _ in range(2)]
        return [running.child_id("child"), *(one.id for one in [*facts, *running.success(NOON)])]

    first = made(UUID(int=7))
    once = ids(first)
    first.note(attempt=1)
    first.restart()

    assert once == ids(first) == ids(made(UUID(int=7)))
    assert len(set(once)) == len(once)
    assert first.attributes == {}


@pytest.mark.parametrize(
    ("statement", "shape", "table"),
    [
        ("SELECT *\n  FROM task WHERE id = 17", "SELECT * FROM task WHERE id = ?", "task"),
        ("INSERT INTO \"outbox\" VALUES ('it''s', $1)", 'INSERT INTO "outbox" VALUES (?, $?)', "outbox"),
        ("UPDATE outbox SET sent_at = now()", "UPDATE outbox SET sent_at = now()", "outbox"),
        ("SELECT 1", "SELECT ?", None),
    ],
)
def test_a_statement_is_known_by_its_shape(statement: str, shape: str, table: str | None) -> None:
    assert fingerprint(statement) == shape
    assert table_of(statement) == table


def test_only_what_has_bytes_of_its_own_has_a_digest() -> None:
    assert digest("a") == digest(b"a")
    assert digest(OptionsDecided.example()) is not None
    assert digest(object()) is None
