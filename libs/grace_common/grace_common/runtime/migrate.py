"""Bringing a service's schema up to date: the runtime's tables first, then the service's own."""

import asyncio
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, text

from grace_common.runtime.database import Database

_RUNTIME = Path(str(files("grace_common.runtime") / "migrations"))
_LOCK = 7_265_001  # advisory: two instances that start together migrate one after the other


async def migrate(database: Database, own: Path | None) -> None:
    """Run every migration that is missing; `own` is the service's `migrations` folder, None when it has no tables."""
    async with database.engine.connect() as connection:
        await connection.run_sync(_upgrade, _RUNTIME, "alembic_version_runtime")
        if own is not None:
            await connection.run_sync(_upgrade, own, "alembic_version")


def _upgrade(connection: Connection, folder: Path, version_table: str) -> None:
    # Imported only here: a service that runs needs neither Alembic nor the 7 MB it loads.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_RUNTIME))  # env.py is the runtime's for all
    config.set_main_option("version_locations", str(folder / "versions"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    connection.commit()
    try:
        command.upgrade(config, "head")
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


def run(database: Database, own: Path | None) -> None:
    """Migrate from a command line; the database is closed then."""

    async def once() -> None:
        try:
            await migrate(database, own)
        finally:
            await database.close()

    asyncio.run(once())
