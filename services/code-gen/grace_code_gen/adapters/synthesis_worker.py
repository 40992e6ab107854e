"""Runs the synthesiser in worker processes: bounded in CPU time and memory, cancelled by ending the process.

A worker (`python -m grace_code_gen.adapters.synthesis_worker`) reads one job as JSON from standard input and writes one
JSON object a line: `{"program": …}` as each is found, then `{"end": …}`; `{"refused": message}` where the job makes no
sense.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from grace_common.contract.errors import Refused, Unready

from grace_code_gen.domain.synthesis import Example, Program, Specification, Weights, default_weights, synthesise

MEMORY_BYTES: Final = 1_536 * 1024 * 1024  # address space; the enumeration itself stops at about 800 MB
_GRACE_CPU_SECONDS: Final = 5  # beyond the budget: starting, formatting, and writing what was found
_LONGEST_LINE: Final = 4 * 1024 * 1024
_NICENESS: Final = 10


class SynthesisPool:
    """A bound on how many workers run at once; each synthesis has a process of its own."""

    def __init__(self, size: int, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._slots = asyncio.Semaphore(size)
        self._memory_bytes = memory_bytes

    async def synthesise(
        self,
        spec: Specification,
        *,
        cpu_seconds: float,
        max_programs: int = 8,
        hints: frozenset[str] = frozenset(),
        weights_json: str | None = None,
    ) -> AsyncGenerator[Program, None]:
        """Yield programs as a worker finds them; closing the iterator ends the worker.

        cpu_seconds   budget of the search
        hints         names of hints of the weights that hold whatever the request says
        weights_json  weights other than the package's own
        raises        Refused when signature and examples do not go together, Unready when the worker died of itself
        """
        job = {
            "spec": asdict(spec),
            "cpu_seconds": cpu_seconds,
            "max_programs": max_programs,
            "memory_bytes": self._memory_bytes,
            "hints": sorted(hints),
            "weights": weights_json,
        }
        async with self._slots:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LONGEST_LINE,
            )  # fmt: skip
            try:
                async for program in _programs(process, json.dumps(job).encode()):
                    yield program
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _programs(process: asyncio.subprocess.Process, job: bytes) -> AsyncGenerator[Program, None]:
    """Give the worker its job and yield what it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # a worker that died at once is reported below
        process.stdin.write(job)
        await process.stdin.drain()
        process.stdin.close()
    found = False
    async for line in process.stdout:
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "end" in answer:
            return
        found = True
        yield Program(**answer["program"])
    if not found:
        raise Unready(f"the synthesis worker ended without an answer (exit status {await process.wait()})")


def main() -> None:
    """Do the one job on standard input."""
    job: dict[str, Any] = json.load(sys.stdin)
    seconds = float(job["cpu_seconds"])
    os.nice(_NICENESS)
    allowed = int(seconds) + _GRACE_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, allowed + 1))
    resource.setrlimit(resource.RLIMIT_AS, (job["memory_bytes"], job["memory_bytes"]))
    fields = job["spec"]
    examples = tuple(Example(tuple(example["args"]), example["expected"]) for example in fields["examples"])
    spec = Specification(fields["entry_point"], fields["signature"], fields["requirements"], examples)
    weights = Weights.from_json(job["weights"]) if job["weights"] else default_weights()
    found = synthesise(
        spec,
        weights,
        cpu_seconds=seconds,
        max_programs=job["max_programs"],
        clock=time.process_time,
        hints=frozenset(job["hints"]),
    )
    try:
        for program in found:
            _write({"program": {**asdict(program), "source": formatted(program.source)}})
    except Refused as refusal:
        _write({"refused": str(refusal)})
    except MemoryError:
        _write({"end": "memory"})
    else:
        _write({"end": "done"})


def formatted(source: str) -> str:
    """Return the source as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--stdin-filename", "program.py", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def _write(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
