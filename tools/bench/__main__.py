"""Measure everything and write docs/benchmarks.md."""

import asyncio
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tools.bench import chain, submitting, tasks
from tools.bench.load import Load
from tools.bench.stack import ROOT, Bench, running

RUNS: Final = 3
FILE: Final = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    load_before = os.getloadavg()[0]
    with running() as bench:
        print(f"up: {bench.cold_up_s:.1f} s, again: {bench.warm_up_s:.1f} s", flush=True)
        idle = bench.memory_mib()
        submits = asyncio.run(submitting.measure(bench, RUNS))
        print("submits measured", flush=True)
        through = asyncio.run(chain.throughput(bench, RUNS))
        rate = statistics.median(run.per_second for run in through)
        print(f"chain: {rate:.0f} records/s", flush=True)
        delays = [asyncio.run(chain.latency(bench, rate / 2, 8)) for _ in range(RUNS)]
        alone = asyncio.run(chain.audit_alone(bench, RUNS))
        print("audit-log alone measured", flush=True)
        asyncio.run(bench.until_quiet(5.0))
        overheads = tasks.overhead_ms(bench, RUNS)
        busy = bench.memory_mib()
        text = _document(bench, load_before, submits, through, delays, alone, overheads, idle, busy)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text)
    print(text)
    print(f"written to {FILE.relative_to(ROOT)}")


def _document(
    bench: Bench,
    load_before: float,
    submits: Sequence[tuple[Load, Load]],
    through: Sequence[chain.Throughput],
    delays: Sequence[tuple[float, float]],
    alone: Sequence[chain.Throughput],
    overheads: Sequence[float],
    idle: dict[str, float],
    busy: dict[str, float],
) -> str:
    median = statistics.median
    ours, bare = [pair[0] for pair in submits], [pair[1] for pair in submits]
    ratio = median(one.per_second / other.per_second for one, other in submits)
    rows = [
        ("`POST /api/tasks` to 202", f"{median(one.per_second for one in ours):.0f}/s", _delays(ours), "≥ 0.6× bare"),
        ("bare FastAPI handler, one insert", f"{median(one.per_second for one in bare):.0f}/s", _delays(bare), "peer"),
        ("ratio, pair by pair", f"{ratio:.2f}×", "", "≥ 0.6×"),
        (
            "whole chain: outbox → Kafka → notary → ledger",
            f"{median(run.per_second for run in through):.0f} records/s",
            f"{median(run.entries / run.seconds for run in through):.0f} entries/s",
            "≥ 2,000 records/s",
        ),
        (
            "fact to signed checkpoint, at half that load",
            f"p50 {median(one[0] for one in delays):.0f} ms",
            f"p99 {median(one[1] for one in delays):.0f} ms",
            "p50 ≤ 300 ms, p99 ≤ 1,500 ms",
        ),
        (
            "audit-log alone, from a filled topic",
            f"{median(run.per_second for run in alone):.0f} entries/s",
            f"{median(run.cpu_us['audit-log'] for run in alone):.0f} µs CPU an entry",
            "",
        ),
        ("platform overhead of a task", f"{median(overheads):.0f} ms", "all but generation and sandbox", "≤ 500 ms"),
        ("`grace up`, first start", f"{bench.cold_up_s:.1f} s", "programs downloaded, empty state", ""),
        ("`grace up`, warm", f"{bench.warm_up_s:.1f} s", "", "≤ 25 s"),
    ]
    cpu = {name: median(run.cpu_us[name] for run in through) for name in through[0].cpu_us}
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; medians of "
        f"{RUNS} runs, Grace and its peer in turn. {_machine()}. Load average before: {load_before:.1f}.",
        f"Records are about 1 KB, {chain.PER_OPERATION} to an operation; each operation adds one key entry. "
        "Everything — Kafka, PostgreSQL (fsync on), six services, and the load — shares the machine.",
        "",
        "| what | figure | | aim |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "CPU of the chain in microseconds a record: "
        + ", ".join(f"{name} {value:.0f}" for name, value in cpu.items())
        + ".",
        "",
        "| process | resident, after start | after the benchmark |",
        "| --- | --- | --- |",
        *(f"| {name} | {value:.0f} MiB | {busy.get(name, 0):.0f} MiB |" for name, value in idle.items()),
        "",
    ]
    return "\n".join(lines)


def _delays(loads: Sequence[Load]) -> str:
    p50 = statistics.median(one.p50_ms for one in loads)
    p99 = statistics.median(one.p99_ms for one in loads)
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("faststream", "aiokafka", "pydantic", "sqlalchemy", "asyncpg")
    )
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    main()
