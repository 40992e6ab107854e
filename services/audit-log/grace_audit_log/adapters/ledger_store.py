"""The ledger in PostgreSQL: bulk COPY, compare-and-swap, one writer.

The writer's transactions and its advisory lock share one connection: when the connection goes, so do both, and no lock
outlives the one who may write. Reading goes over a connection of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime import failpoint
from grace_common.runtime.clock import Clock
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.note import Note
from grace_common.transparency.tile import HEIGHT, WIDTH, TileEdge
from sqlalchemy.engine import make_url

from grace_audit_log.domain.entry import Entry, Place
from grace_audit_log.domain.redaction import KEPT, Redaction, redactions
from grace_audit_log.domain.tree import Growth, Head, LogIdentity
from grace_audit_log.ports import Committed, LogKeys, Position

_log = structlog.get_logger(__name__)
WRITER_LOCK: Final = 7_265  # advisory, with the schema's hash beside it: one writer in each schema
_TIMEOUT_S: Final = 10.0
_ENTRY_COLUMNS: Final = (
    "index",
    "entry_id",
    "leaf",
    "leaf_hash",
    "entry_type",
    "operation_id",
    "correlation",
    "actor",
    "service",
    "time",
)
_PLACE_COLUMNS: Final = "index, entry_id, entry_type, operation_id, correlation, actor, service, time"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # generic in its stubs alone


async def connect(database_url: str) -> Connection:
    """Open one connection; OSError or asyncpg's errors when the server cannot be had."""
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    # The server notices a dead writer within seconds, so that the next one can take over.
    settings = {"application_name": "grace-audit-log", "tcp_keepalives_idle": "2", "tcp_keepalives_interval": "1"}
    return await asyncpg.connect(dsn, timeout=_TIMEOUT_S, server_settings=settings)


class PostgresLedgerWriter:
    """Implements `LedgerWriter`."""

    def __init__(self, database_url: str, log: LogKeys, clock: Clock) -> None:
        self._database_url = database_url
        self._log = log
        self._clock = clock
        self._connection: Connection | None = None

    async def take_over(self) -> Head:
        await self.release()
        connection = await connect(self._database_url)
        try:
            held = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))"
            if not await connection.fetchval(held, WRITER_LOCK):
                raise Unready("another audit-log writes this ledger; this one stands by")
            head = await self._head(connection)
        except BaseException:
            await _end(connection)
            raise
        self._connection = connection
        return head

    async def known(self, entry_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        connection = self._writing()
        with _lost_is_an_outage(connection):
            rows = await connection.fetch(
                "SELECT entry_id, index FROM entry WHERE entry_id = ANY($1::uuid[])", list(entry_ids)
            )
        return {row["entry_id"]: row["index"] for row in rows}

    async def append(self, growth: Growth, entries: Sequence[Entry], position: Position) -> None:
        connection = self._writing()
        first = growth.before.edge.size
        try:
            with _lost_is_an_outage(connection):
                await self._append(connection, growth, entries, position)
        except asyncpg.UniqueViolationError as error:
            raise Unready(f"the tree of {first} leaves has grown without this writer: {error}") from error

    async def _append(
        self, connection: Connection, growth: Growth, entries: Sequence[Entry], position: Position
    ) -> None:
        first = growth.before.edge.size
        async with connection.transaction():
            # First the checkpoint: it is the compare-and-swap, and a loser has written nothing else.
            await self._insert_checkpoint(connection, growth, position)
            await _copy_entries(connection, first, entries, growth.leaf_hashes)
            if growth.full_tiles:
                await connection.copy_records_to_table(
                    "tile",
                    records=[(tile.level, tile.index, tile.hashes, tile.root) for tile in growth.full_tiles],
                    columns=("level", "index", "hashes", "root"),
                )
            for asked in redactions(entries, first):
                await _redact(connection, asked)
            failpoint.reached("ledger", "inserted")
        failpoint.reached("ledger", "committed")

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)

    def _writing(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            raise Unready("this audit-log is not the ledger's writer (any more)")
        return self._connection

    async def _head(self, connection: Connection) -> Head:
        """Return the newest state, from the right edge of the tree alone: a few hundred hashes at any size."""
        row = await connection.fetchrow("SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        await _require(connection, self._log.identity().least)
        if row is None:
            return await self._commit_empty_tree(connection)
        opened = _own_checkpoint(row["note"], self._log.identity())
        edge = await read_edge(connection, row["size"])
        if (opened.size, opened.root) != (row["size"], row["root"]) or edge.root != opened.root:
            raise Refused(
                f"the ledger's right edge does not lead to the root of its newest checkpoint (size {row['size']}): "
                "the database was changed from outside; restore it from a backup and compare with the published log"
            )
        return Head(edge, opened)

    async def _commit_empty_tree(self, connection: Connection) -> Head:
        edge = TileEdge()
        checkpoint, note = self._log.identity().checkpoint(edge, None)
        await connection.execute(
            "INSERT INTO checkpoint (size, root, note, committed_at) VALUES (0, $1, $2, $3)",
            edge.root,
            note,
            self._clock.now(),
        )
        return Head(edge, checkpoint)

    async def _insert_checkpoint(self, connection: Connection, growth: Growth, position: Position) -> None:
        before, after = growth.before.checkpoint, growth.after.checkpoint
        await connection.execute(
            "INSERT INTO checkpoint (size, root, note, previous_size, previous_root, topic_partition, topic_offset, "
            "committed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            after.size,
            after.root,
            growth.note,
            before.size,
            before.root,
            position.partition,
            position.offset,
            self._clock.now(),
        )


class PostgresLedgerReader:
    """Implements `LedgerReader`; reconnects after an outage."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def position(self, partition: int) -> int | None:
        rows = await self._fetch(
            "SELECT topic_offset FROM checkpoint WHERE topic_partition = $1 ORDER BY size DESC LIMIT 1", partition
        )
        return rows[0]["topic_offset"] if rows else None

    async def newest(self) -> Committed | None:
        rows = await self._fetch("SELECT size, root, note, committed_at FROM checkpoint ORDER BY size DESC LIMIT 1")
        return Committed(**rows[0]) if rows else None

    async def leaves(self, start: int, end: int) -> list[bytes]:
        rows = await self._fetch("SELECT leaf FROM entry WHERE index >= $1 AND index < $2 ORDER BY index", start, end)
        return [row["leaf"] for row in rows]

    async def places(self, start: int, end: int) -> list[Place]:
        rows = await self._fetch(
            f"SELECT {_PLACE_COLUMNS} FROM entry WHERE index >= $1 AND index < $2 ORDER BY index", start, end
        )
        return [Place(*row.values()) for row in rows]

    async def committed_at(self, nth: int) -> datetime | None:
        rows = await self._fetch("SELECT committed_at FROM checkpoint ORDER BY size DESC OFFSET $1 LIMIT 1", nth - 1)
        return rows[0]["committed_at"] if rows else None

    async def places_of(self, indices: Sequence[int]) -> list[Place]:
        rows = await self._fetch(
            f"SELECT {_PLACE_COLUMNS} FROM entry WHERE index = ANY($1::bigint[]) ORDER BY index", list(indices)
        )
        return [Place(*row.values()) for row in rows]

    async def payloads_of(self, indices: Sequence[int]) -> list[bytes]:
        rows = await self._fetch(
            "SELECT content FROM payload WHERE index = ANY($1::bigint[]) ORDER BY index", list(indices)
        )
        return [bytes(row["content"]) for row in rows]

    async def announced(self) -> int:
        rows = await self._fetch("SELECT coalesce(max(size), 0) AS size FROM announcement")
        return int(rows[0]["size"])

    async def mark_announced(self, size: int, at: datetime) -> None:
        async with self._connected() as connection, connection.transaction():
            # Not worth an fsync: what a crash takes away is announced once more.
            await connection.execute("SET LOCAL synchronous_commit = off")
            await connection.execute("INSERT INTO announcement VALUES ($1, $2) ON CONFLICT DO NOTHING", size, at)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _end(connection)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._connected() as connection:
            return await connection.fetch(query, *arguments)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        async with self._one_at_a_time:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._database_url)
            with _lost_is_an_outage(self._connection):
                yield self._connection


async def read_edge(connection: Connection, size: int) -> TileEdge:
    """Return the right edge of the tree of `size` leaves: at most 255 hashes a level."""
    tails: list[bytes] = []
    level = 0
    while count := size >> HEIGHT * level:
        start = count - count % WIDTH
        if level == 0:
            rows = await connection.fetch(
                "SELECT leaf_hash AS hash FROM entry WHERE index >= $1 AND index < $2 ORDER BY index", start, count
            )
        else:
            rows = await connection.fetch(
                "SELECT root AS hash FROM tile WHERE level = $1 AND index >= $2 AND index < $3 ORDER BY index",
                level - 1,
                start,
                count,
            )
        tails.append(b"".join(row["hash"] for row in rows))
        level += 1
    return TileEdge.of_tails(size, tails)


async def _copy_entries(
    connection: Connection, first: int, entries: Sequence[Entry], leaf_hashes: Sequence[bytes]
) -> None:
    await connection.copy_records_to_table(
        "entry",
        records=[
            (
                index,
                entry.entry_id,
                entry.leaf,
                leaf_hash,
                entry.entry_type,
                entry.operation_id,
                entry.correlation,
                entry.actor,
                entry.service,
                entry.time,
            )
            for index, (entry, leaf_hash) in enumerate(zip(entries, leaf_hashes, strict=True), first)
        ],
        columns=_ENTRY_COLUMNS,
    )
    payloads = [(index, entry.payload) for index, entry in enumerate(entries, first) if entry.payload is not None]
    if payloads:
        await connection.copy_records_to_table("payload", records=payloads, columns=("index", "content"))


async def _redact(connection: Connection, asked: Redaction) -> None:
    """Delete a payload and keep which entry asked for it; without effect where there is none, or no more."""
    try:
        async with connection.transaction():  # a savepoint: the entries are committed, whatever one of them asks
            row = await connection.fetchrow(
                "INSERT INTO redaction (index, entry) SELECT index, $3 FROM payload JOIN entry USING (index) "
                "WHERE index = $1 AND entry_id = $2 AND entry_type <> ALL($4::text[]) "
                "ON CONFLICT DO NOTHING RETURNING index",
                asked.index,
                asked.entry_id,
                asked.entry,
                list(KEPT),
            )
            if row is not None:
                await connection.execute("DELETE FROM payload WHERE index = $1", asked.index)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.DataError) as error:
        _log.error("redaction_refused", index=asked.index, asked_by=asked.entry, why=str(error))
        return
    _log.info("payload_redacted" if row else "nothing_to_redact", index=asked.index, asked_by=asked.entry)


def _own_checkpoint(note: bytes, log: LogIdentity) -> Checkpoint:
    """Return the newest checkpoint of the tables, once it is one that these keys signed and no newer one has."""
    try:
        opened = open_checkpoint(note, log.keys)
    except Refused as error:
        raise Refused(
            f"the newest checkpoint was not signed by this log's key {log.key}: {error}; "
            "put back the key that belongs to this database"
        ) from error
    newest = next(line for line in Note.parse(note).signatures if line.name == log.key.name)
    if not any(newest.is_by(key) for key in log.keys):
        raise Refused(
            f"the newest checkpoint was signed by a newer key, {newest.name}+{newest.key_id.hex()}, than this log's "
            f"{log.key}: an older copy of the state folder was put back; put back the newer one"
        )
    return opened.checkpoint


async def _require(connection: Connection, least: Checkpoint | None) -> None:
    """Raise Refused unless the tables contain the checkpoint with which the log's keys were restored: else they forked.

    Grace's own witness and the published files would notice too, but may be lost with the tables.
    """
    if least is None:
        return
    root = await connection.fetchval("SELECT root FROM checkpoint WHERE size = $1", least.size)
    if root != least.root:
        raise Refused(
            f"the log's keys were restored, and the database lacks the checkpoint of {least.size} entries that they "
            "signed before: they would sign another history. Restore the newest copy of that database; if there is "
            "none, this log has ended: move the log-key files away, and the next start begins a new log with a new key"
        )


@contextmanager
def _lost_is_an_outage(connection: Connection) -> Iterator[None]:
    """asyncpg reports a connection that broke between two statements as an error of its own: it is an outage."""
    try:
        yield
    except asyncpg.InternalClientError as error:
        connection.terminate()
        raise ConnectionResetError(f"the connection to PostgreSQL was lost: {error}") from error


async def _end(connection: Connection) -> None:
    """Close a connection without waiting for a server that may have gone."""
    connection.terminate()
