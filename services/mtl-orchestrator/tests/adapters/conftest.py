"""A database of the orchestrator's own for each test, migrated as at deployment."""

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from grace_cli.testing.stack import Postgres
from grace_common.runtime.database import Database
from grace_common.runtime.migrate import migrate


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """Make one migrated database, which the tests' own are copied from; return its name."""
    name = f"orchestrator_template_{uuid4().hex}"

    async def make() -> None:
        await execute(postgres, "postgres", f"CREATE DATABASE {name}")
        await execute(postgres, name, "CREATE EXTENSION pg_trgm")
        database = Database(postgres.url(name), pool_size=2)
        await migrate(database, Path(str(files("grace_mtl_orchestrator") / "migrations")))
        await database.close()

    asyncio.run(make())
    return name


@pytest.fixture
async def database(postgres: Postgres, template: str) -> AsyncIterator[Database]:
    name = f"orchestrator_{uuid4().hex}"
    await execute(postgres, "postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    database = Database(postgres.url(name), pool_size=4)
    yield database
    await database.close()


async def execute(postgres: Postgres, place: str, statement: str) -> None:
    admin = await asyncpg.connect(postgres.url(place))
    await admin.execute(statement)
    await admin.close()
