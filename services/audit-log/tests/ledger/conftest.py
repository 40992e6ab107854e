"""A schema of its own on a real PostgreSQL for each test, with the rights that the service has."""

import secrets
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from grace_common.runtime import migrate
from grace_common.runtime.database import Database
from sqlalchemy.engine import make_url


@pytest.fixture
async def database_url(postgres: Any) -> AsyncIterator[str]:
    """Yield the URL of an ordinary role whose schema has been migrated."""
    admin, role, password = postgres.url(), f"audit_log_{secrets.token_hex(4)}", secrets.token_hex(8)
    connection = await asyncpg.connect(admin)
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await connection.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    await connection.execute(f"ALTER ROLE {role} SET search_path = {role}")
    url = make_url(admin).set(username=role, password=password).render_as_string(hide_password=False)
    database = Database(url)
    await migrate.migrate(database, Path(str(files("grace_audit_log") / "migrations")))
    await database.close()
    yield url
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", role
    )
    await connection.execute(f"DROP SCHEMA {role} CASCADE")
    await connection.execute(f"DROP OWNED BY {role}")
    await connection.execute(f"DROP ROLE {role}")
    await connection.close()
