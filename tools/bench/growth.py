"""`make bench-growth`: what an entry costs in a ledger of 10 thousand, a million and ten million entries.

A PostgreSQL of its own, migrated as the audit-log's, is filled on the server's side up to each size, with the tree that
belongs to it. What is measured then is the service's own code: taking over, appending batches, and proving entries.
"""

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter
from grace_audit_log.domain.entry import Entry
from grace_audit_log.domain.tree import Head, LogIdentity, grow
from grace_audit_log.ports import Position
from grace_cli.stack.embedded import EmbeddedPostgres
from grace_cli.verifying.database_log import DatabaseLog
from grace_cli.verifying.proving import DatabaseTree
from grace_cli.verifying.tables import newest_checkpoint
from grace_common.runtime import migrate
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.transparency import merkle
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.tile import WIDTH, TileEdge

from tools.bench.page import GROWTH, machine, write_part

SIZES: Final = (10_000, 1_000_000, 10_000_000)
BATCH: Final = 1024
BATCHES: Final = 24  # appended and measured at each size
PROOFS: Final = 500
CONTENT_BYTES: Final = 1000  # of a leaf, and of the payload of an entry that is appended
_STEP: Final = 1 << 16  # entries filled in one statement
_PAD: Final = b"x" * (CONTENT_BYTES - 20)
_TIME: Final = datetime(2026, 11, 22, tzinfo=UTC)
# The leaves are those of `_grown`. Ids are spread as those of answers, which are UUIDv5 and most of a ledger.
_FILL: Final = """
    INSERT INTO entry
    SELECT i, md5(i::text)::uuid, leaf, sha256('\\x00' || leaf), 'grace.task-submitted.v1', md5((i / 5)::text)::uuid,
           md5((i / 50)::text), 'ada', 'gateway', '2026-11-22T00:00:00Z'
    FROM generate_series($1::bigint, $2::bigint - 1) AS i,
         LATERAL (SELECT convert_to(lpad(i::text, 20, '0') || repeat('x', $3), 'UTF8') AS leaf) AS made
"""
_FILL_PAYLOADS: Final = "INSERT INTO payload SELECT i, $3 FROM generate_series($1::bigint, $2::bigint - 1) AS i"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the ledger costs at one size.

    append_us, known_us  wall time for each entry of a batch: committing it, and looking first for copies of it
    service_us           CPU of the service's code for each entry, both steps; postgres_us: of the server
    """

    size: int
    append_us: float
    known_us: float
    service_us: float
    postgres_us: float
    take_over_ms: float
    proof_cpu_ms: float
    proof_p50_ms: float
    proof_p99_ms: float
    bytes_of: dict[str, float]


def main() -> None:
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    load = os.getloadavg()[0]
    started = time.monotonic()
    with EmbeddedPostgres() as server:
        measured = asyncio.run(_measure(server, sizes))
    text = _document(measured, load, time.monotonic() - started)
    if len(sys.argv) == 1:
        write_part(GROWTH, text)
    print(text)


async def _measure(server: EmbeddedPostgres, sizes: Sequence[int]) -> list[Measured]:
    url = server.url()
    database = Database(url)
    await migrate.migrate(database, Path(str(files("grace_audit_log") / "migrations")))
    await database.close()
    private = Ed25519PrivateKey.generate()
    key = VerifierKey("bench.example/log", private.public_key().public_bytes_raw())
    log = LogIdentity(key, private.sign)
    measured = []
    for size in sizes:
        await _fill(url, log, size)
        measured.append(await _at(url, server.pid, log, size))
        print(measured[-1], flush=True)
    return measured


async def _fill(url: str, log: LogIdentity, size: int) -> None:
    """Bring the ledger to `size` entries: rows made by the server, tiles and checkpoint here."""
    writer = PostgresLedgerWriter(url, log, SystemClock())
    head = await writer.take_over()
    await writer.release()
    connection = await asyncpg.connect(url)
    await connection.execute("SET synchronous_commit = off")
    # Random ids one by one take minutes; PostgreSQL sorts them when the index is made at the end.
    await connection.execute("ALTER TABLE entry DROP CONSTRAINT entry_entry_id_key")
    edge = head.edge
    # A payload's size has no part in what the next entry costs; at the largest size ten gigabytes are spared.
    payload = b"x" * (CONTENT_BYTES if size <= SIZES[1] else 16)
    for first in range(head.edge.size, size, _STEP):
        end = min(first + _STEP, size)
        filling = asyncio.create_task(_insert(connection, first, end, payload))
        edge, tiles = await asyncio.to_thread(_grown, edge, first, end)
        await filling
        await connection.copy_records_to_table("tile", records=tiles, columns=("level", "index", "hashes", "root"))
    await connection.execute("ALTER TABLE entry ADD CONSTRAINT entry_entry_id_key UNIQUE (entry_id)")
    await _insert_checkpoint(connection, log, head, edge)
    await connection.execute("ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _insert(connection: "asyncpg.Connection[Any]", first: int, end: int, payload: bytes) -> None:
    await connection.execute(_FILL, first, end, len(_PAD))
    await connection.execute(_FILL_PAYLOADS, first, end, payload)


def _grown(edge: TileEdge, first: int, end: int) -> tuple[TileEdge, list[tuple[int, int, bytes, bytes]]]:
    """Return the edge after the filled entries, and the rows of the tiles that they complete."""
    growth = edge.append(merkle.leaf_hashes(b"%020d" % index + _PAD for index in range(first, end)))
    full = [(tile, data) for tile, data in growth.tiles if tile.width == WIDTH]
    return growth.edge, [(tile.level, tile.index, data, _root(data)) for tile, data in full]


def _root(data: bytes) -> bytes:
    return merkle.root_hash([data[start : start + 32] for start in range(0, len(data), 32)])


async def _insert_checkpoint(
    connection: "asyncpg.Connection[Any]", log: LogIdentity, head: Head, edge: TileEdge
) -> None:
    made, note = log.checkpoint(edge, head.checkpoint)
    await connection.execute(
        "INSERT INTO checkpoint VALUES ($1, $2, $3, $4, $5, 0, $1, now())",
        made.size,
        made.root,
        note,
        head.checkpoint.size,
        head.checkpoint.root,
    )


async def _at(url: str, server_pid: int, log: LogIdentity, size: int) -> Measured:
    writer = PostgresLedgerWriter(url, log, SystemClock())
    started = time.perf_counter()
    head = await writer.take_over()
    take_over_ms = (time.perf_counter() - started) * 1000
    appends: list[float] = []
    knowns: list[float] = []
    server_before, own_before = _cpu_s(server_pid), time.process_time()
    for number in range(BATCHES):
        batch = _batch(size, number)
        began = time.perf_counter()
        known = await writer.known([entry.entry_id for entry in batch])
        knowns.append(time.perf_counter() - began)
        began = time.perf_counter()
        growth = grow(head, [entry.leaf for entry in batch if entry.entry_id not in known], log)
        await writer.append(growth, batch, Position(0, growth.after.edge.size))
        appends.append(time.perf_counter() - began)
        head = growth.after
    own_s, server_s = time.process_time() - own_before, _cpu_s(server_pid) - server_before
    await writer.release()
    proofs, proof_cpu_ms = await asyncio.to_thread(_proofs_ms, url, log.key, size)
    entries = BATCH * BATCHES
    return Measured(
        size,
        statistics.median(appends) / BATCH * 1e6,
        statistics.median(knowns) / BATCH * 1e6,
        own_s / entries * 1e6,
        server_s / entries * 1e6,
        take_over_ms,
        proof_cpu_ms,
        statistics.median(proofs),
        sorted(proofs)[int(len(proofs) * 0.99)],
        await _bytes_of(url, size + entries),
    )


def _batch(size: int, number: int) -> list[Entry]:
    made = []
    for at in range(BATCH):
        digest = sha256(b"%d %d %d" % (size, number, at)).digest()
        id_, operation = UUID(bytes=digest[:16]), UUID(bytes=digest[16:])
        leaf = digest.hex().encode() + b"y" * (CONTENT_BYTES - 64)
        payload = b"z" * CONTENT_BYTES
        type_ = "grace.task-submitted.v1"
        made.append(Entry(id_, leaf, type_, operation, str(operation), "ada", "gateway", _TIME, payload))
    return made


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of the server and of its living children, in which it works."""
    total = 0.0
    for one in (process := psutil.Process(pid), *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _proofs_ms(url: str, key: VerifierKey, size: int) -> tuple[list[float], float]:
    """Return the time of each proof of entries from all over the log, and CPU; tiles above the leaves are known."""
    log = DatabaseLog(url)
    checkpoint = newest_checkpoint(log, key)
    tree = DatabaseTree(log, checkpoint)
    for tile in range(-(-checkpoint.size // WIDTH**2)):
        tree.inclusion_proof(tile * WIDTH**2)
    chosen, own_before = random.Random(size), time.process_time()
    took = []
    for _ in range(PROOFS):
        index = chosen.randrange(size)
        began = time.perf_counter()
        proof = tree.inclusion_proof(index)
        took.append((time.perf_counter() - began) * 1000)
        leaf = log.value("SELECT leaf_hash FROM entry WHERE index = $1", index)
        merkle.verify_inclusion(leaf, index, checkpoint.size, proof, checkpoint.root)
    cpu_ms = (time.process_time() - own_before) * 1000 / PROOFS
    log.close()
    return took, cpu_ms


async def _bytes_of(url: str, entries: int) -> dict[str, float]:
    """Return what each part of the tables takes for an entry."""
    parts = {
        "entry": "pg_table_size('entry')",
        "its index": "pg_relation_size('entry_pkey')",
        "ids": "pg_relation_size('entry_entry_id_key')",
        "payload": "pg_table_size('payload')",
        "payload's index": "pg_relation_size('payload_pkey')",
        "tile": "pg_total_relation_size('tile')",
    }
    connection = await asyncpg.connect(url)
    row = await connection.fetchrow("SELECT " + ", ".join(f'{size} AS "{name}"' for name, size in parts.items()))
    await connection.close()
    return {name: row[name] / entries for name in parts} if row is not None else {}


def _files_bytes(size: int) -> tuple[float, float]:
    """Return what the static files take for an entry: bundles, and hash tiles of all levels."""
    hashes, level = 0, 0
    while count := size >> 8 * level:
        hashes, level = hashes + count, level + 1
    return CONTENT_BYTES + 2.0, hashes * merkle.HASH_BYTES / size


def _document(measured: Sequence[Measured], load: float, seconds: float) -> str:
    def row(name: str, *values: str) -> str:
        return f"| {name} | {' | '.join(values)} |"

    def across(name: str, pattern: str, field: str) -> str:
        return row(name, *(pattern.format(getattr(one, field)) for one in measured))

    millions = [(one, other) for one in measured for other in measured if other.size == 10 * one.size]
    whole = next((one for one in measured if one.size == SIZES[1]), measured[-1])
    bundle, tiles = _files_bytes(whole.size)
    lines = [
        GROWTH,
        "",
        f"Written by `make bench-growth`; {machine()}; load average before {load:.1f}, after {os.getloadavg()[0]:.1f}; "
        f"it took {seconds / 60:.0f} minutes. PostgreSQL alone, fsync on, shared_buffers 128 MB; at each size "
        f"{BATCHES} batches of {BATCH} entries, leaf and payload of {CONTENT_BYTES} bytes, random ids; medians of the "
        "batches. Rows below a size were filled by the server. A proof is one statement for its rows of tiles; tiles "
        "above the leaves are in memory.",
        "",
        row("entries in the ledger", *(f"{one.size:,}" for one in measured)),
        row("---", *("---" for _ in measured)),
        across("append a batch, wall time an entry", "{:.0f} µs", "append_us"),
        across("look for copies first", "{:.0f} µs", "known_us"),
        across("CPU an entry, service's code", "{:.0f} µs", "service_us"),
        across("CPU an entry, PostgreSQL", "{:.0f} µs", "postgres_us"),
        across("take over: the tree's right edge read and checked", "{:.0f} ms", "take_over_ms"),
        across("inclusion proof, p50", "{:.2f} ms", "proof_p50_ms"),
        across("inclusion proof, CPU (with its verification)", "{:.2f} ms", "proof_cpu_ms"),
        across("inclusion proof, p99", "{:.2f} ms", "proof_p99_ms"),
        "",
        *(
            f"A proof at {other.size:,} entries takes {other.proof_p50_ms / one.proof_p50_ms:.2f}× of one at "
            f"{one.size:,} (p50; aims: ≤ 1.5×, ≤ 3 ms)."
            for one, other in millions
        ),
        "",
        f"Storage for an entry in PostgreSQL at {whole.size:,}, in bytes: "
        + ", ".join(f"{name} {value:.0f}" for name, value in whole.bytes_of.items())
        + f"; together {sum(whole.bytes_of.values()):.0f}. "
        + f"As static files: bundle {bundle:.0f}, tiles {tiles:.1f}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
