"""The audit-log's tables as an administrator has them: whatever a trigger forbids can be changed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg


@dataclass(frozen=True)
class Administered:
    """The tables in `schema`, which `admin` may change as he likes, and the folder where the log is published."""

    url: str
    admin: str
    schema: str
    folder: Path

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Any]:
        """Yield a super user's connection on which no trigger fires."""
        connection = await asyncpg.connect(self.admin)
        await connection.execute(f"SET search_path = {self.schema}; SET session_replication_role = replica")
        yield connection
        await connection.close()
