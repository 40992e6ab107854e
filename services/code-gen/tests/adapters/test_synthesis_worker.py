"""Synthesis in worker processes."""

import asyncio

import pytest
from grace_code_gen.adapters.synthesis_worker import SynthesisPool
from grace_code_gen.domain.synthesis import Example, Program, Specification
from grace_common.contract.errors import Refused, Unready

DOUBLE = Specification(
    "double", "def double(n: int) -> int:", "Return twice n.", (Example((1,), 2), Example((5,), 10), Example((0,), 0))
)
RIDDLE = Specification("riddle", "def riddle(n: int) -> int:", "Unknown.", (Example((3,), 829471), Example((5,), -17)))


async def collected(pool: SynthesisPool, spec: Specification, cpu_seconds: float = 5, limit: int = 2) -> list[Program]:
    return [program async for program in pool.synthesise(spec, cpu_seconds=cpu_seconds, max_programs=limit)]


async def test_programs_come_formatted_from_a_worker() -> None:
    programs = await collected(SynthesisPool(1), DOUBLE)

    assert programs[0].source == 'def double(n: int) -> int:\n    """Return twice n."""\n    return n + n\n'


async def test_a_job_that_makes_no_sense_is_refused() -> None:
    nonsense = Specification("f", "def g():", "", (Example((), 1),))

    with pytest.raises(Refused, match="the signature defines 'g'"):
        await collected(SynthesisPool(1), nonsense)


async def test_a_worker_without_memory_is_reported() -> None:
    with pytest.raises(Unready, match="the synthesis worker ended without an answer"):
        await collected(SynthesisPool(1, memory_bytes=1024), DOUBLE)


async def test_a_spent_budget_ends_the_stream() -> None:
    assert await collected(SynthesisPool(1), RIDDLE, cpu_seconds=0.2) == []


async def test_a_cancelled_synthesis_gives_its_slot_back() -> None:
    pool = SynthesisPool(1)
    waiting = asyncio.create_task(collected(pool, RIDDLE, cpu_seconds=60))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await collected(pool, DOUBLE, limit=1)


async def test_leaving_early_ends_the_worker() -> None:
    pool = SynthesisPool(1)
    programs = pool.synthesise(DOUBLE, cpu_seconds=60)
    first = await anext(programs)
    await programs.aclose()

    assert "return n + n" in first.source
    assert await collected(pool, DOUBLE, limit=1)
