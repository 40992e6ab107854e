"""Tasks in a real PostgreSQL."""

import asyncio
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from runpy import run_path
from uuid import UUID

import orjson
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from grace_common.contract.approval import report_sha256
from grace_common.contract.errors import Unready
from grace_common.contract.events.candidate import CandidateEvaluated
from grace_common.contract.events.round import RoundOpened
from grace_common.contract.events.task import CancellationRequested, GuidanceGiven
from grace_common.runtime.database import Database
from grace_common.testing.events import (
    NOON,
    TASK,
    approach_proposed,
    candidate_evaluated,
    round_facts,
    task_submitted,
)
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.adapters.tables import history, metadata
from grace_mtl_orchestrator.adapters.task_store import TaskStore
from grace_mtl_orchestrator.domain.task import Cause, DeadlinePassed, Heard, Submission, Task, replay, step
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import DBAPIError

SUBMISSION = Submission(event=task_submitted(deadline_s=60), policies=load(packaged()), lessons=("iterate",))
BEGUN: tuple[Cause, ...] = (SUBMISSION, approach_proposed(), GuidanceGiven(task_id=TASK, by="ada"))
CANCEL = CancellationRequested(task_id=TASK, by="ada", roles=("requester",))


async def live(database: Database, *causes: Cause) -> Task:
    """Take the steps of a life, each in its own transaction; return the last state."""
    store = TaskStore(database)
    task: Task | None = None
    for cause in causes:
        async with database.transaction():
            task, facts = step(await store.load(TASK), cause, NOON)
            await store.save(task, Heard(cause, NOON), facts)
    assert task is not None
    return task


async def kept(database: Database) -> Task | None:
    async with database.transaction():
        return await TaskStore(database).load(TASK)


async def test_a_task_comes_back_as_it_was_kept(database: Database) -> None:
    task = await live(database, *BEGUN)

    assert await kept(database) == task
    async with database.transaction():
        assert await TaskStore(database).load(UUID(int=7)) is None


async def test_the_history_replays_to_the_same_state_and_the_same_facts(database: Database) -> None:
    round_id = replay(Heard(cause, NOON) for cause in BEGUN)[1][-1]
    assert isinstance(round_id, RoundOpened)
    await live(database, *BEGUN, *round_facts(round_id.round_id), CANCEL, DeadlinePassed())

    task, facts = replay(await TaskStore(database).history(TASK))

    assert task == await kept(database)
    async with database.reading() as connection:
        rows = await connection.scalars(select(history.c.facts).order_by(history.c.position))
        stated = [fact for row in rows for fact in orjson.loads(row)]
    assert stated == [{"type": fact.TYPE, "data": orjson.loads(fact.model_dump_json())} for fact in facts]


async def test_a_report_with_a_nul_character_is_kept_to_the_byte(database: Database) -> None:
    report = {"printed": "a\x00b"}
    odd = candidate_evaluated(TASK).model_copy(update={"report": report, "report_sha256": report_sha256(report)})

    await live(database, *BEGUN, odd)

    heard = (await TaskStore(database).history(TASK))[-1].cause
    assert isinstance(heard, CandidateEvaluated)
    assert heard == odd


async def test_a_state_made_from_an_older_version_is_not_kept(database: Database) -> None:
    task = await live(database, *BEGUN)
    store = TaskStore(database)

    async with database.transaction():
        with pytest.raises(Unready, match="changed while version 3 of it was made"):
            await store.save(task, Heard(CANCEL, NOON), ())
        with pytest.raises(Unready, match="changed while version 1"):
            await store.save(task.so(version=1), Heard(SUBMISSION, NOON), ())


async def test_steps_of_one_task_wait_for_each_other(database: Database) -> None:
    """Many facts at once over several topics: none is lost, none is taken twice."""
    await live(database, SUBMISSION)
    store = TaskStore(database)

    async def guide(number: int) -> None:
        async with database.transaction():
            guidance = GuidanceGiven(task_id=TASK, by="ada", guidance=f"hint {number}")
            task, facts = step(await store.load(TASK), guidance, NOON)
            await store.save(task, Heard(guidance, NOON), facts)

    await asyncio.gather(*(guide(number) for number in range(12)))

    task = await kept(database)
    assert task is not None
    assert (task.version, len(set(task.guidance))) == (13, 12)


async def test_the_history_can_only_grow(database: Database) -> None:
    await live(database, SUBMISSION)

    for statement in ("UPDATE history SET facts = '[]'", "DELETE FROM history", "TRUNCATE history"):
        with pytest.raises(DBAPIError, match="history is append-only"):
            async with database.transaction() as connection:
                await connection.execute(text(statement))


async def test_a_timer_is_due_at_the_deadline_and_gone_when_the_task_has_ended(database: Database) -> None:
    store = TaskStore(database)
    await live(database, SUBMISSION)
    late = NOON + timedelta(seconds=60)

    assert await store.due(late - timedelta(seconds=1), 10) == []
    assert await store.due(late, 10) == [TASK]
    async with database.transaction():
        assert await store.claim(TASK, late)
        assert not await store.claim(TASK, NOON)
        assert not await store.claim(UUID(int=7), late)
    async with database.transaction():
        task, facts = step(await store.load(TASK), CANCEL, NOON)
        await store.save(task, Heard(CANCEL, NOON), facts)
    assert await store.due(late, 10) == []


async def test_a_due_timer_whose_task_is_in_other_hands_is_left_to_them(database: Database) -> None:
    store = TaskStore(database)
    await live(database, SUBMISSION)
    late = NOON + timedelta(seconds=60)
    held, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.transaction():
            await store.load(TASK)
            held.set()
            await released.wait()

    holding = asyncio.create_task(hold())
    await held.wait()
    async with database.transaction():
        assert not await store.claim(TASK, late)
    released.set()
    await holding
    async with database.transaction():
        assert await store.claim(TASK, late)


async def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    def columns(connection: Connection) -> dict[str, set[str]]:
        found = inspect(connection)
        return {name: {column["name"] for column in found.get_columns(name)} for name in metadata.tables}

    async with database.engine.connect() as connection:
        made = await connection.run_sync(columns)

    assert made == {name: set(table.columns.keys()) for name, table in metadata.tables.items()}


async def test_the_migrations_can_be_taken_back(database: Database) -> None:
    folder = Path(str(files("grace_mtl_orchestrator") / "migrations"))
    migration = run_path(str(folder / "versions" / "0001_tasks_and_memory.py"))

    def down(connection: Connection) -> list[str]:
        with Operations.context(MigrationContext.configure(connection)):
            migration["downgrade"]()
        return inspect(connection).get_table_names()

    async with database.engine.begin() as connection:
        left = await connection.run_sync(down)

    assert set(left) == {"inbox", "outbox", "outbox_unsent", "alembic_version", "alembic_version_runtime"}
