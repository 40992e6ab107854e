"""The embedded generator on real worker processes."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import pytest
from grace_code_gen.adapters.synthesis import SynthesisGenerator
from grace_code_gen.adapters.synthesis_worker import SynthesisPool
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.specification import Example, Specification
from grace_code_gen.domain.synthesis import Program
from grace_code_gen.domain.synthesis import Specification as Wanted
from grace_common.contract.errors import Refused

DOUBLE = Brief(
    Specification(
        "Return twice n",
        "double",
        signature="def double(n: int) -> int:",
        examples=(Example((1,), 2), Example((5,), 10), Example((0,), 0)),
    )
)
RIDDLE = Brief(
    Specification(
        "Unknown",
        "riddle",
        signature="def riddle(n: int) -> int:",
        examples=(Example((3,), 829471), Example((5,), -17)),
    )
)


def generator(patience_s: float = 30, cpu_seconds: float = 5) -> SynthesisGenerator:
    return SynthesisGenerator(SynthesisPool(1), cpu_seconds=cpu_seconds, patience_s=patience_s)


def workers() -> list[str]:
    """Return the command lines of this process' children that are synthesis workers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode() for child in children]
    return [line for line in lines if "synthesis_worker" in line]


class Slow(SynthesisPool):
    """A pool whose worker finds one program, then nothing for as long as anybody waits."""

    def __init__(self) -> None:
        super().__init__(1)
        self.closed = 0

    async def synthesise(
        self,
        spec: Wanted,
        *,
        cpu_seconds: float,
        max_programs: int = 8,
        hints: frozenset[str] = frozenset(),
        weights_json: str | None = None,
    ) -> AsyncGenerator[Program, None]:
        try:
            yield Program(source="def double(n: int) -> int:\n    return n + n\n", size=3, cost=2.5)
            await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_programs_that_satisfy_the_examples_become_drafts_simplest_first() -> None:
    drafts = [draft async for draft in generator().generate(DOUBLE, 3)]

    assert "return n + n" in drafts[0].code
    assert [draft.cost for draft in drafts] == sorted(draft.cost for draft in drafts)
    assert 1 <= len(drafts) <= 3
    assert {draft.generator for draft in drafts} == {"synthesis"}
    assert workers() == []


async def test_alternatives_are_not_waited_for_beyond_its_patience() -> None:
    pool = Slow()
    impatient = SynthesisGenerator(pool, cpu_seconds=60, patience_s=0.01)

    drafts = [draft async for draft in impatient.generate(DOUBLE, 3)]

    assert [draft.cost for draft in drafts] == [2.5]
    assert pool.closed == 1


async def test_leaving_early_ends_the_worker() -> None:
    pool = Slow()
    async with aclosing(SynthesisGenerator(pool, cpu_seconds=60, patience_s=60).generate(DOUBLE, 3)) as drafts:
        await anext(drafts)

    assert pool.closed == 1


async def test_a_cancelled_synthesis_leaves_no_process() -> None:
    async def search() -> None:
        async with aclosing(generator(cpu_seconds=60).generate(RIDDLE, 3)) as drafts:
            _ = [draft async for draft in drafts]

    searching = asyncio.create_task(search())
    async with asyncio.timeout(60):
        while not workers():  # noqa: ASYNC110 (it is the kernel that knows)
            await asyncio.sleep(0.01)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching

    assert workers() == []


async def test_it_goes_by_examples_alone() -> None:
    prose = Brief(Specification("Double", "double"))

    assert generator().suits(DOUBLE)
    assert not generator().suits(prose)
    assert await generator().tests(DOUBLE) == ()
    with pytest.raises(Refused, match="needs a signature"):
        await anext(generator().generate(prose, 1))


def test_the_ids_of_equal_programs_are_equal_within_a_round_only() -> None:
    one, other = Draft("x = 1\n", "synthesis", 1.0), Draft("x = 1\n", "recorded", 9.0)

    assert one.candidate_id(UUID(int=1)) == other.candidate_id(UUID(int=1))
    assert one.candidate_id(UUID(int=1)) != one.candidate_id(UUID(int=2))
