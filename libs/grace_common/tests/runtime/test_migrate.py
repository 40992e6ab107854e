"""Bringing a schema up to date: again and again, and by two at once."""

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database, after_commit, current
from sqlalchemy import text

OWN = """
from alembic import op
revision, down_revision = "0001", None
def upgrade(): op.execute("CREATE TABLE own (id int)")
def downgrade(): op.execute("DROP TABLE own")
"""


@pytest.fixture
async def database(postgres: Any) -> AsyncIterator[Database]:
    name = f"fresh_{SystemClock().new_id().hex}"
    connection = await asyncpg.connect(postgres.url())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    made = Database(postgres.url(name))
    yield made
    await made.close()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_own.py").write_text(OWN)
    return tmp_path


async def tables(database: Database) -> set[str]:
    async with database.reading() as connection:
        found = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return set(found.scalars())


RUNTIMES = {"inbox", "outbox", "outbox_unsent", "alembic_version_runtime"}
BOTH = RUNTIMES | {"own", "alembic_version"}


async def test_the_runtimes_tables_come_first_then_the_services_and_again_changes_nothing(
    database: Database, own: Path
) -> None:
    await migrate.migrate(database, None)
    assert await tables(database) == RUNTIMES

    for _ in range(2):
        await migrate.migrate(database, own)
        assert await tables(database) == BOTH


async def test_what_waited_in_an_outbox_of_before_waits_after_the_migration(database: Database) -> None:
    before = import_module("grace_common.runtime.migrations.versions.0001_inbox_and_outbox")
    async with database.transaction() as connection:
        for statement in before._TABLES:
            await connection.execute(text(statement))
        await connection.execute(text("CREATE TABLE alembic_version_runtime (version_num varchar(32) PRIMARY KEY)"))
        await connection.execute(text("INSERT INTO alembic_version_runtime VALUES ('runtime_0001')"))
        await connection.execute(
            text(
                "INSERT INTO outbox (event_id, topic, key, value, sent_at) SELECT gen_random_uuid(), 't', '', '', sent "
                "FROM unnest(ARRAY[now(), NULL, now(), NULL]) AS sent"
            )
        )

    await migrate.migrate(database, None)

    async with database.reading() as connection:
        waiting = await connection.execute(text("SELECT position FROM outbox JOIN outbox_unsent USING (position)"))
        assert sorted(waiting.scalars()) == [2, 4]
        assert await connection.scalar(text("SELECT count(*) FROM outbox")) == 4


async def test_two_that_start_together_migrate_one_after_the_other(database: Database, own: Path) -> None:
    await asyncio.gather(*(migrate.migrate(database, own) for _ in range(4)))

    assert await tables(database) == BOTH


async def test_a_migration_that_fails_leaves_nothing_and_lets_the_next_try(database: Database, own: Path) -> None:
    script = own / "versions" / "0001_own.py"
    script.write_text(OWN.replace('(id int)")', '(id int)"), op.execute("SELECT 1/0")'))
    with pytest.raises(Exception, match="division by zero"):
        await migrate.migrate(database, own)
    assert "own" not in await tables(database)

    script.write_text(OWN)
    await migrate.migrate(database, own)
    assert await tables(database) == BOTH


def test_the_command_migrates_and_closes_its_connections(postgres: Any, own: Path) -> None:
    async def prepare() -> str:
        connection = await asyncpg.connect(postgres.url())
        name = f"fresh_{SystemClock().new_id().hex}"
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        return name

    async def connections(name: str) -> int:
        connection = await asyncpg.connect(postgres.url())
        counted = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name)
        await connection.close()
        return int(counted)

    name = asyncio.run(prepare())
    migrate.run(Database(postgres.url(name)), own)

    assert asyncio.run(connections(name)) == 0


async def test_what_waits_for_a_commit_happens_after_it_and_never_after_a_rollback(database: Database) -> None:
    happened: list[str] = []

    async with database.transaction() as outer:
        async with database.transaction() as inner:
            assert inner is outer is current()
            after_commit(lambda: happened.append("committed"))
        assert happened == []

    async def fail() -> None:
        async with database.transaction():
            after_commit(lambda: happened.append("rolled back"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert happened == ["committed"]
    with pytest.raises(RuntimeError, match="open transaction"):
        after_commit(lambda: None)
