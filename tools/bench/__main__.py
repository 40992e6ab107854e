"""Measure everything and write docs/benchmarks.md."""

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tools.bench import chain, submitting, tasks, verifying
from tools.bench.load import Load
from tools.bench.page import BENCH, FILE, machine, packages, write_part
from tools.bench.peers import BATCHES, Peers
from tools.bench.stack import ROOT, Bench, running
from tools.bench.verifying import Verified

RUNS: Final = 3


def main() -> None:
    with TemporaryDirectory(prefix="grace-bench-peers-") as folder:
        _measure(Peers(Path(folder)))  # built first: where Go is missing, nothing else is worth beginning


def _measure(peers: Peers) -> None:
    started, load_before = time.monotonic(), os.getloadavg()[0]
    verified = verifying.measure(peers, RUNS)
    print("verification measured", flush=True)
    with running() as bench:
        print(f"up: {bench.cold_up_s:.1f} s, again: {bench.warm_up_s:.1f} s", flush=True)
        idle = bench.memory_mib()
        submits = asyncio.run(submitting.measure(bench, RUNS))
        print("submits measured", flush=True)
        through = asyncio.run(chain.throughput(bench, RUNS))
        rate = statistics.median(run.per_second for run in through)
        print(f"chain: {rate:.0f} records/s", flush=True)
        delays = [asyncio.run(chain.latency(bench, rate / 2, 8)) for _ in range(RUNS)]
        alone, tessera = [], []
        for _ in range(RUNS):
            alone += asyncio.run(chain.audit_alone(bench, 1))
            tessera.append(peers.tessera(bench.home.root))
        print("audit-log alone measured, and Tessera", flush=True)
        asyncio.run(bench.until_quiet(5.0))
        overheads = tasks.overhead_ms(bench, RUNS)
        busy = bench.memory_mib()
        text = _document(bench, load_before, submits, through, delays, alone, overheads, idle, busy, tessera, verified)
    text += f"\nIt took {(time.monotonic() - started) / 60:.0f} minutes.\n"
    write_part(BENCH, text)
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
    tessera: Sequence[dict[int, float]],
    verified: Sequence[Verified],
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
            "≥ 6,000 records/s",
        ),
        (
            "fact to signed checkpoint, at half that load",
            f"p50 {median(one[0] for one in delays):.0f} ms",
            f"p99 {median(one[1] for one in delays):.0f} ms",
            "p50 ≤ 150 ms, p99 ≤ 1,000 ms",
        ),
        (
            "audit-log alone, from a filled topic",
            f"{median(run.per_second for run in alone):.0f} entries/s",
            f"{median(run.cpu_us['audit-log'] for run in alone):.0f} µs CPU an entry",
            "≤ 35 µs",
        ),
        *_tessera(tessera, median(run.per_second for run in alone)),
        *_verified(verified),
        ("platform overhead of a task", f"{median(overheads):.0f} ms", "all but generation and sandbox", "≤ 500 ms"),
        ("`grace up`, first start", f"{bench.cold_up_s:.1f} s", "programs downloaded, empty state", ""),
        ("`grace up`, warm", f"{bench.warm_up_s:.1f} s", "", "≤ 25 s"),
    ]
    cpu = {name: median(run.cpu_us[name] for run in through) for name in through[0].cpu_us}
    lines = [
        BENCH,
        "",
        "Written by `make bench`; medians of "
        f"{RUNS} runs, Grace and its peer in turn. {machine()}, {packages()}. Load average before: {load_before:.1f}.",
        f"Records are about 1 KB, {chain.RECORDS:,} in a run of the chain and of the audit-log, {chain.PER_OPERATION} "
        "to an operation; each operation adds one key entry. "
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


def _tessera(runs: Sequence[dict[int, float]], ours: float) -> list[tuple[str, str, str, str]]:
    rates = {batch: statistics.median(run[batch] for run in runs) for batch in BATCHES}
    return [
        *(
            (f"Tessera v1.0.4 POSIX, batches of {batch}", f"{rate:.0f} entries/s", "", "peer")
            for batch, rate in rates.items()
        ),
        ("audit-log against the best of Tessera", f"{ours / max(rates.values()):.2f}×", "", "≥ 1.5×"),
    ]


def _verified(runs: Sequence[Verified]) -> list[tuple[str, str, str, str]]:
    rows = []
    for size in verifying.SIZES:
        these = [run for run in runs if run.size == size]
        ours, sumdb, fsck = (
            statistics.median(getattr(run, name) for run in these) for name in ("ours", "sumdb", "fsck")
        )
        ratio = statistics.median(run.sumdb / run.ours for run in these)
        what = f"all of an exported log verified, {size:,} entries"
        rows += [
            (f"{what}, {verifying.PROCESSES} processes", f"{ours:.2f} s", f"{size / ours:,.0f} entries/s", ""),
            ("Go's sumdb client; Tessera's fsck", f"{sumdb:.2f} s; {fsck:.2f} s", "", "peers"),
            ("speed against the sumdb client, pair by pair", f"{ratio:.2f}×", "", "≥ 0.8×"),
        ]
    return rows


if __name__ == "__main__":
    main()
