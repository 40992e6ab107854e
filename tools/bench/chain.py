"""The whole chain: outbox → relay → Kafka → notary → ledger → published checkpoint, with all processes running."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from grace_common.contract.envelope import Envelope
from grace_common.contract.events.operation import OperationSucceeded
from grace_common.contract.topics import LEDGER
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.producer import connection

from tools.bench.stack import Bench

WRITER: Final = "consensus"
PER_OPERATION: Final = 4  # records of one operation: start, facts, outcome
TRANSACTION: Final = 128
RECORDS: Final = 36_000
_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class Throughput:
    """One run of the chain.

    entries   what the ledger grew by: the records, and one key for each operation
    cpu_us    CPU microseconds per record of each process that has a part in it
    """

    records: int
    entries: int
    seconds: float
    cpu_us: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


def records(count: int) -> list[Envelope]:
    """Return facts of about 1 KB, `PER_OPERATION` to an operation."""
    made = []
    for number in range(count):
        if number % PER_OPERATION == 0:
            operation = _CLOCK.new_id()
        event = OperationSucceeded(
            operation_id=operation,
            name="bench.work",
            service=WRITER,
            actor="bench",
            subject="bench",
            duration_ms=1.0,
            attributes={"padding": "x" * 350},
        )
        made.append(
            Envelope(
                id=_CLOCK.new_id(),
                source=f"/grace/{WRITER}",
                time=_CLOCK.now(),
                correlation="bench",
                causation=None,
                operation=operation,
                actor="bench",
                traceparent=None,
                event=event,
            )
        )
    return made


async def throughput(bench: Bench, runs: int) -> list[Throughput]:
    """Write facts into one service's outbox as fast as it takes them; stop the clock when the ledger has them all."""
    database = Database(bench.settings(WRITER).database_url.get_secret_value())
    outbox = Outbox(database)
    processes = ("postgres", "kafka", WRITER, "crypto-signer", "audit-log", "gateway")
    measured = []
    for _ in range(runs):
        await bench.until_quiet()
        facts = records(RECORDS)
        before, size = {name: bench.cpu_s(name) for name in processes}, bench.tree_size()
        own = time.process_time()
        started = time.perf_counter()
        await _write(database, outbox, facts)
        writing = time.process_time() - own
        entries = RECORDS + RECORDS // PER_OPERATION
        await _until_size(bench, size + entries)
        seconds = time.perf_counter() - started
        cpu = {name: (bench.cpu_s(name) - before[name]) / RECORDS * 1e6 for name in processes}
        measured.append(Throughput(RECORDS, entries, seconds, {"writer": writing / RECORDS * 1e6, **cpu}))
    await database.close()
    return measured


async def audit_alone(bench: Bench, runs: int) -> list[Throughput]:
    """Hold the audit-log back until the topic is filled, then let it go; nothing else has work then."""
    database = Database(bench.settings(WRITER).database_url.get_secret_value())
    outbox = Outbox(database)
    measured = []
    for _ in range(runs):
        await bench.until_quiet()
        size, pid = bench.tree_size(), bench.pid("audit-log")
        os.kill(pid, signal.SIGSTOP)
        try:
            await _write(database, outbox, records(RECORDS))
            await _until_idle(bench, ("crypto-signer", WRITER))
        finally:
            os.kill(pid, signal.SIGCONT)
        before = bench.cpu_s("audit-log")
        entries = RECORDS + RECORDS // PER_OPERATION
        first = await _until_grown(bench, size)
        began = time.perf_counter()
        await _until_size(bench, size + entries)
        seconds = time.perf_counter() - began
        done = size + entries - first
        cpu = {"audit-log": (bench.cpu_s("audit-log") - before) / entries * 1e6}
        measured.append(Throughput(done, done, max(seconds, 1e-9), cpu))
    await database.close()
    return measured


async def latency(bench: Bench, per_second: float, seconds: float) -> tuple[float, float]:
    """Return p50 and p99 in ms from a fact's commit to the arrival of the notice that a signed checkpoint covers it."""
    database = Database(bench.settings(WRITER).database_url.get_secret_value())
    outbox = Outbox(database)
    committed: dict[UUID, float] = {}
    took: list[float] = []
    consumer = AIOKafkaConsumer(**connection(bench.settings(WRITER)), enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(LEDGER.name, 0)
    consumer.assign([partition])
    await consumer.seek_to_end(partition)
    await consumer.position(partition)

    async def listen() -> None:
        async for record in consumer:
            now = time.perf_counter()
            for entry in orjson.loads(record.value)["data"].get("entries", ()):
                at = committed.pop(UUID(entry["entry_id"]), None)
                if at is not None:
                    took.append((now - at) * 1000)

    listening = asyncio.create_task(listen())
    step_s = 0.05
    batch = max(1, int(per_second * step_s))
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        facts = records(batch)
        await outbox.state(facts)
        at = time.perf_counter()
        committed.update((fact.id, at) for fact in facts)
        await asyncio.sleep(max(0.0, step_s - (time.perf_counter() - began)))
    for _ in range(200):
        if not committed:
            break
        await asyncio.sleep(0.1)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await consumer.stop()
    await database.close()
    if committed:
        raise RuntimeError(f"{len(committed)} facts were never covered by a checkpoint")
    ordered = sorted(took)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


async def _write(database: Database, outbox: Outbox, facts: Sequence[Envelope]) -> None:
    for start in range(0, len(facts), TRANSACTION):
        async with database.transaction():
            await outbox.add(facts[start : start + TRANSACTION])


async def _until_size(bench: Bench, size: int) -> None:
    bound = time.monotonic() + 120
    while bench.tree_size() < size:
        if time.monotonic() > bound:
            raise RuntimeError(f"the ledger has {bench.tree_size()} of {size} entries after 120 s")
        await asyncio.sleep(0.02)


async def _until_grown(bench: Bench, size: int) -> int:
    bound = time.monotonic() + 120
    while (now := bench.tree_size()) == size:
        if time.monotonic() > bound:
            raise RuntimeError("the audit-log does not go on")
        await asyncio.sleep(0.005)
    return now


async def _until_idle(bench: Bench, processes: Sequence[str]) -> None:
    """Wait until processes use next to no CPU: the topic is filled."""
    bound = time.monotonic() + 120
    while True:
        before = sum(bench.cpu_s(name) for name in processes)
        await asyncio.sleep(1.0)
        if sum(bench.cpu_s(name) for name in processes) - before < 0.25:
            return
        if time.monotonic() > bound:
            raise RuntimeError("the topic is never filled")
