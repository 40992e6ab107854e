"""The log as the audit-log's tables hold it, read over one snapshot by every process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from grace_common.contract.errors import Unready
from grace_common.transparency.tile import ENTRIES, HEIGHT, WIDTH, Tile, encode_bundle

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    import asyncpg

SCHEMA: Final = "audit_log"  # where an administrator finds the tables; the service's own role finds them by itself
_TIMEOUT_S: Final = 10.0


class DatabaseLog:
    """A log in PostgreSQL; a `TileReader`. Another process opens a connection of its own on the same snapshot."""

    def __init__(self, url: str, snapshot: str | None = None) -> None:
        self._url = url
        self._snapshot = snapshot
        self._runner: asyncio.Runner | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def __str__(self) -> str:
        return f"the database at {urlsplit(self._url).netloc.rpartition('@')[2]}"

    def __reduce__(self) -> tuple[type["DatabaseLog"], tuple[str, str | None]]:
        return DatabaseLog, (self._url, self._snapshot)

    def open(self) -> None:
        """Connect, and hold one snapshot of all tables from here on; others join it."""
        with self._explained():
            if self._connection is not None:
                return
            self._runner = asyncio.Runner()
            self._connection = self._runner.run(self._connected())
            if self._snapshot is None:
                self._snapshot = self.value("SELECT pg_export_snapshot()")

    def close(self) -> None:
        """Let go of the snapshot."""
        if self._connection is not None:
            self._connection.terminate()
        if self._runner is not None:
            self._runner.close()
        self._connection = self._runner = None

    def rows(self, query: str, *arguments: Any) -> list["asyncpg.Record"]:
        """Return a query's rows; raises CliError when the server cannot be had or refuses."""
        self.open()
        with self._explained():
            if self._connection is None or self._runner is None:
                raise CliError("the database was left while it was read")
            return self._runner.run(self._connection.fetch(query, *arguments))

    def value(self, query: str, *arguments: Any) -> Any:
        """Return the first column of a query's first row, None when it has none."""
        found = self.rows(query, *arguments)
        return found[0][0] if found else None

    def read(self, path: str) -> bytes:
        """Return a tile or bundle as the published file would be, full or partial; raises Unready when rows lack."""
        tile = Tile.parse(path)
        first, count = tile.index << HEIGHT, tile.width
        if tile.level == ENTRIES:
            rows = self.rows("SELECT leaf FROM entry WHERE index >= $1 AND index < $2 ORDER BY index", *_span(tile))
            data = encode_bundle(row["leaf"] for row in rows)
        elif tile.width == WIDTH:
            rows = self.rows("SELECT hashes FROM tile WHERE level = $1 AND index = $2", tile.level, tile.index)
            count, data = 1, rows[0]["hashes"] if rows else b""
        elif tile.level == 0:
            query = "SELECT leaf_hash FROM entry WHERE index >= $1 AND index < $2 ORDER BY index"
            rows = self.rows(query, *_span(tile))
            data = b"".join(row["leaf_hash"] for row in rows)
        else:
            rows = self.rows(
                "SELECT root FROM tile WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index",
                tile.level - 1,
                first,
                first + tile.width,
            )
            data = b"".join(row["root"] for row in rows)
        if len(rows) != count:
            raise Unready(f"rows of {path} are missing: {len(rows)} of {count} are there")
        return data

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        import asyncpg

        connection = await asyncpg.connect(self._url, timeout=_TIMEOUT_S)
        if await connection.fetchval("SELECT to_regclass('checkpoint') IS NULL"):
            await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if self._snapshot is not None:
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
        return connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import asyncpg

        try:
            yield
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CliError(f"{self} cannot be read: {error}", "is it the audit-log's?", Exit.NOT_RUNNING) from error


def _span(tile: Tile) -> tuple[int, int]:
    first = tile.index << HEIGHT
    return first, first + tile.width
