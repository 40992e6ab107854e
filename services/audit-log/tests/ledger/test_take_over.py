"""Starts of two writers at once, over and over: one of them writes, and the ledger never forks."""

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect, read_edge
from grace_audit_log.domain.tree import Head, grow
from grace_audit_log.ports import Position
from grace_common.contract.errors import Unready
from grace_common.testing.clock import FixedClock
from grace_common.transparency import merkle
from grace_common.transparency.tile import HEIGHT, WIDTH

from .fakes import LOG, entry

STARTS = 40


async def seal(writer: PostgresLedgerWriter, head: Head, leaf: bytes) -> Head:
    """Append one entry to the tree of a head."""
    growth = grow(head, [leaf], LOG)
    await writer.append(growth, [replace(entry(head.edge.size), leaf=leaf)], Position(0, head.edge.size))
    return growth.after


async def start(url: str) -> tuple[PostgresLedgerWriter, Head, Head] | None:
    """Return a new writer that took over and sealed an entry, with the heads before and after; None: another writes."""
    writer = PostgresLedgerWriter(url, LOG, FixedClock())
    try:
        before = await writer.take_over()
        return writer, before, await seal(writer, before, entry(before.edge.size).leaf)
    except Unready:
        await writer.release()
        return None


async def starts_of_two_at_once(url: str, count: int) -> list[bytes]:
    """Start two writers at once, so many times; each that took over dies before the next start. Return all roots."""
    roots: list[bytes] = []
    while len(roots) < count:
        started = [one for one in await asyncio.gather(start(url), start(url)) if one is not None]
        assert len(started) <= 1, "two writers at once"
        for writer, before, head in started:
            roots.append(head.edge.root)
            with pytest.raises(
                Unready, match="has grown without this writer"
            ):  # were it to believe the tree is as before
                await seal(writer, before, b"fork")
            await writer.release()
    return roots


async def test_of_two_starts_at_once_one_writes_and_the_ledger_never_forks(database_url: str) -> None:
    roots = await starts_of_two_at_once(database_url, STARTS)

    connection = await connect(database_url)
    rows = await connection.fetch("SELECT size, root, previous_size FROM checkpoint ORDER BY size")
    await connection.close()
    leaves = merkle.leaf_hashes([entry(number).leaf for number in range(STARTS)])
    assert [(row["size"], row["previous_size"]) for row in rows] == [(0, None), *((n + 1, n) for n in range(STARTS))]
    assert [row["root"] for row in rows] == [merkle.root_hash(leaves[:size]) for size in range(STARTS + 1)]
    assert roots == [row["root"] for row in rows[1:]]


class Counted:
    """A connection that counts what is read over it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rows = self.queries = 0

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._connection.fetch(query, *arguments)
        self.queries += 1
        self.rows += len(rows)
        return rows


async def test_recovery_reads_only_the_right_edge_of_the_tree(database_url: str) -> None:
    writer = PostgresLedgerWriter(database_url, LOG, FixedClock())
    head = await writer.take_over()
    connection = await connect(database_url)
    for size in (1, WIDTH - 1, WIDTH, 10 * WIDTH + 7, WIDTH * WIDTH - 1, WIDTH * WIDTH, WIDTH * WIDTH + WIDTH + 3):
        new = [entry(number) for number in range(head.edge.size, size)]
        growth = grow(head, [one.leaf for one in new], LOG)
        await writer.append(growth, new, Position(0, size))
        head = growth.after
        counted = Counted(connection)

        edge = await read_edge(counted, size)  # type: ignore[arg-type]

        levels = -(-size.bit_length() // HEIGHT)
        assert edge == head.edge
        assert counted.rows == sum((size >> HEIGHT * level) % WIDTH for level in range(levels))
        assert counted.queries == levels
    await connection.close()
    await writer.release()
