"""A database with the gateway's schema, empty for each test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grace_gateway
import pytest
from grace_common.runtime import migrate
from grace_common.runtime.database import Database
from sqlalchemy import text

_NAME = "gateway_adapters"


@pytest.fixture
async def database(postgres: Any) -> AsyncIterator[Database]:
    admin = await asyncpg.connect(postgres.url("postgres"))
    try:
        await admin.execute(f"CREATE DATABASE {_NAME}")
        created = True
    except asyncpg.DuplicateDatabaseError:
        created = False
    await admin.close()
    database = Database(postgres.url(_NAME))
    if created:
        await migrate.migrate(database, Path(grace_gateway.__file__).parent / "migrations")
    else:
        async with database.transaction() as connection:
            tables = await connection.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'alembic%'")
            )
            await connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY"))
    yield database
    await database.close()
