"""A migrated schema of its own on a real PostgreSQL for each test, with the rights that the service has."""

import secrets
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest
from grace_cli.testing.stack import Postgres
from grace_common.runtime import migrate
from grace_common.runtime.database import Database
from sqlalchemy.engine import make_url


@pytest.fixture
async def database_url(postgres: Postgres) -> AsyncIterator[str]:
    """Yield the address of a schema of its own, as an ordinary role sees it."""
    admin, role, password = postgres.url(), f"crypto_signer_{secrets.token_hex(4)}", secrets.token_hex(8)
    connection = await asyncpg.connect(admin)
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await connection.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    await connection.execute(f"ALTER ROLE {role} SET search_path = {role}")
    yield make_url(admin).set(username=role, password=password).render_as_string(hide_password=False)
    await connection.execute(f"DROP SCHEMA {role} CASCADE")
    await connection.execute(f"DROP OWNED BY {role}")
    await connection.execute(f"DROP ROLE {role}")
    await connection.close()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Yield the migrated database."""
    database = Database(database_url)
    await migrate.migrate(database, Path(str(files("grace_crypto_signer") / "migrations")))
    yield database
    await database.close()
