"""The ledger in a real PostgreSQL."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerReader, PostgresLedgerWriter, connect
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.tree import Head, LogIdentity, grow
from grace_audit_log.handlers.files import Published, publish
from grace_audit_log.ports import Position
from grace_cli.testing.stack import Postgres
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.tile import WIDTH

from .fakes import LOG, entry


def writer(url: str, log: LogIdentity = LOG) -> PostgresLedgerWriter:
    return PostgresLedgerWriter(url, log, FixedClock())


async def take_over(store: PostgresLedgerWriter) -> Head:
    """Become the writer after another one ended, which the server needs a moment to notice."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.take_over()
            except Unready:
                await asyncio.sleep(0.01)


async def append(store: PostgresLedgerWriter, head: Head, count: int, offset: int = 0) -> Head:
    new = [entry(number) for number in range(head.edge.size, head.edge.size + count)]
    growth = grow(head, [one.leaf for one in new], LOG)
    await store.append(growth, new, Position(0, offset))
    return growth.after


async def test_the_right_edge_is_read_back_at_every_size(database_url: str) -> None:
    store = writer(database_url)
    head = await store.take_over()
    assert head.checkpoint.root == merkle.EMPTY_ROOT
    for count in (1, WIDTH - 1, 1, WIDTH * 3, WIDTH * WIDTH - WIDTH * 4 - 1, 1):
        head = await append(store, head, count)

        assert await take_over(store) == head
    await store.release()
    assert head.edge.size == WIDTH * WIDTH + 1


async def test_what_was_committed_can_be_read(database_url: str) -> None:
    store, reader = writer(database_url), PostgresLedgerReader(database_url)
    head = await append(store, await store.take_over(), 3, offset=17)

    newest = await reader.newest()
    assert newest is not None
    assert (newest.size, newest.root) == (3, head.checkpoint.root)
    assert await reader.position(0) == 17
    assert await reader.position(1) is None
    assert await reader.leaves(1, 3) == [entry(1).leaf, entry(2).leaf]
    [place] = await reader.places(1, 2)
    assert await reader.places_of([1]) == [place]
    one = entry(1)
    assert (place.index, place.entry_id, place.actor, place.time) == (1, one.entry_id, one.actor, one.time)
    assert await store.known([one.entry_id, entry(7).entry_id]) == {one.entry_id: 1}
    await store.release()
    await reader.close()


async def test_the_log_is_published_from_the_database(database_url: str, tmp_path: Path) -> None:
    store, reader = writer(database_url), PostgresLedgerReader(database_url)
    head = await append(store, await store.take_over(), 300)
    newest = await reader.newest()
    assert newest is not None

    shown = await publish(reader, FolderPublication(tmp_path), LOG.key, Published(), newest)

    assert shown.edge == head.edge
    await store.release()
    await reader.close()


async def test_announcements_are_remembered(database_url: str) -> None:
    reader = PostgresLedgerReader(database_url)
    assert await reader.announced() == 0

    await reader.mark_announced(3, FixedClock().now())
    await reader.mark_announced(3, FixedClock().now())
    await reader.mark_announced(7, FixedClock().now())

    assert await reader.announced() == 7
    await reader.close()


async def test_only_one_instance_writes_and_another_takes_over_when_it_ends(database_url: str) -> None:
    first, second = writer(database_url), writer(database_url)
    head = await append(first, await first.take_over(), 2)
    with pytest.raises(Unready, match="stands by"):
        await second.take_over()
    with pytest.raises(Unready, match="not the ledger's writer"):
        await second.known([])

    await first.release()

    assert await take_over(second) == head
    await second.release()


async def test_a_tree_has_one_successor_whoever_believes_to_be_the_writer(database_url: str) -> None:
    store = writer(database_url)
    empty = await store.take_over()
    await append(store, empty, 2)

    with pytest.raises(Unready, match="has grown without"):
        await append(store, empty, 3)
    await store.release()

    reader = PostgresLedgerReader(database_url)
    newest = await reader.newest()
    assert newest is not None
    assert newest.size == 2
    assert await reader.leaves(0, 9) == [entry(0).leaf, entry(1).leaf]
    await reader.close()


async def test_a_failed_batch_leaves_nothing_behind(database_url: str) -> None:
    store, reader = writer(database_url), PostgresLedgerReader(database_url)
    head = await append(store, await store.take_over(), 1)
    twice = [entry(1), entry(1)]
    growth = grow(head, [one.leaf for one in twice], LOG)

    with pytest.raises(Unready):
        await store.append(growth, twice, Position(0, 9))

    assert await reader.position(0) == 0
    assert len(await reader.places(0, 9)) == 1
    assert (await append(store, head, 1)).edge.size == 2
    await store.release()
    await reader.close()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("entry", "leaf"),
        ("tile", "hashes"),
        ("checkpoint", "note"),
        ("announcement", "announced_at"),
        ("redaction", "entry"),
    ],
)
async def test_the_ledger_is_append_only_by_grant_and_by_trigger(
    database_url: str, table: str, column: str, postgres: Postgres
) -> None:
    own = await connect(database_url)
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {await own.fetchval('SELECT current_schema()')}")
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await own.execute(statement)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await admin.execute(statement)
    await own.close()
    await admin.close()


async def test_a_database_signed_by_another_key_is_refused(database_url: str) -> None:
    store = writer(database_url)
    await store.take_over()
    await store.release()
    other = SeededKey("another")
    stranger = writer(database_url, LogIdentity(other.named("grace.local/log"), other.sign))

    with pytest.raises(Refused, match="not signed by this log's key"):
        await take_over(stranger)


async def test_a_changed_right_edge_is_noticed_at_the_start(database_url: str, postgres: Postgres) -> None:
    store = writer(database_url)
    await append(store, await store.take_over(), 2)
    await store.release()
    connection = await connect(database_url)
    schema = await connection.fetchval("SELECT current_schema()")
    await connection.close()
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {schema}; SET session_replication_role = replica")
    await admin.execute("UPDATE entry SET leaf_hash = decode(repeat('00', 32), 'hex') WHERE index = 1")
    await admin.close()

    with pytest.raises(Refused, match="changed from outside"):
        await take_over(writer(database_url))


async def test_the_reader_comes_back_after_its_connection_was_lost(database_url: str, postgres: Postgres) -> None:
    reader = PostgresLedgerReader(database_url)
    assert await reader.newest() is None
    admin = await asyncpg.connect(postgres.url())
    role = database_url.split("//")[1].split(":")[0]
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
    await admin.close()

    async with asyncio.timeout(10):
        while True:  # the first question may still find the lost connection, and fails as any outage does
            try:
                assert await reader.newest() is None
                break
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await asyncio.sleep(0.01)
    await reader.close()
