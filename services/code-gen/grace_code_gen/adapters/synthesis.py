"""The embedded default generator: programs enumerated from the examples; needs no model, key or network."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from grace_common.contract.errors import Refused

from grace_code_gen.adapters.synthesis_worker import SynthesisPool
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.synthesis import Example, Program, Specification


class SynthesisGenerator:
    """Implements `Generator` on worker processes.

    cpu_seconds  budget of one synthesis
    patience_s   how long to look for alternatives once the first program was found
    """

    name = "synthesis"
    prose = False

    def __init__(self, pool: SynthesisPool, *, cpu_seconds: float, patience_s: float) -> None:
        self._pool = pool
        self._cpu_seconds = cpu_seconds
        self._patience_s = patience_s

    def suits(self, brief: Brief) -> bool:
        return bool(brief.specification.examples)

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        """Yield programs that satisfy every example and differ elsewhere, simplest first."""
        specification = brief.specification
        if specification.signature is None:
            raise Refused("the synthesis needs a signature, or examples to derive one from")
        programs = self._pool.synthesise(
            Specification(
                entry_point=specification.entry_point,
                signature=specification.signature,
                requirements=". ".join(
                    text.strip().rstrip(".") for text in (specification.requirements, *brief.guidance)
                ),
                examples=tuple(Example(one.args, one.expected) for one in specification.examples),
            ),
            cpu_seconds=self._cpu_seconds,
            max_programs=wanted,
            hints=brief.hints,
        )
        async with aclosing(programs):  # however this ends, the worker's process ends with it
            deadline: float | None = None
            while (program := await _next(programs, deadline)) is not None:
                yield Draft(code=program.source, generator=self.name, cost=program.cost)
                if deadline is None:
                    deadline = asyncio.get_running_loop().time() + self._patience_s

    async def tests(self, brief: Brief) -> Sequence[str]:
        """Return none: what the examples say, every program satisfies."""
        return ()


async def _next(programs: AsyncGenerator[Program, None], deadline: float | None) -> Program | None:
    """Return the next program, None when there is no more or the deadline has come."""
    try:
        async with asyncio.timeout_at(deadline):
            return await anext(programs)
    except (StopAsyncIteration, TimeoutError):
        return None
