"""A database of the orchestrator's own, migrated as at deployment."""

from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from grace_cli.testing.stack import Postgres
from grace_common.runtime.database import Database
from grace_common.runtime.migrate import migrate


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    name = f"orchestrator_{uuid4().hex}"
    for statement, place in ((f"CREATE DATABASE {name}", "postgres"), ("CREATE EXTENSION pg_trgm", name)):
        admin = await asyncpg.connect(postgres.url(place))
        await admin.execute(statement)
        await admin.close()
    database = Database(postgres.url(name), pool_size=4)
    await migrate(database, Path(str(files("grace_mtl_orchestrator") / "migrations")))
    yield database
    await database.close()
