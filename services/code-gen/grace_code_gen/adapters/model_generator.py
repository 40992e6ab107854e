"""Candidates from a language model, whoever serves it: several answers to one prompt, a few requests at a time."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol

from grace_common.contract.errors import Unready
from grace_common.runtime.operation import current_operation, operation

from grace_code_gen.domain import prompt
from grace_code_gen.domain.completion import extract_code
from grace_code_gen.domain.draft import Brief, Draft

_AT_ONCE: Final = 4
_TESTS_TEMPERATURE: Final = 0.2


class ChatModel(Protocol):
    """One model behind one API."""

    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str:
        """The model's own name, as its server knows it."""
        ...

    async def complete(self, system: str, message: str, temperature: float) -> str:
        """Return the answer's text; Unready, saying what to check, when the server gives none."""
        ...


class ModelGenerator:
    """Implements `Generator` on a `ChatModel`: one request per candidate."""

    prose = True

    def __init__(self, model: ChatModel, *, temperature: float) -> None:
        self.name = model.name
        self._model = model
        self._temperature = temperature
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def suits(self, brief: Brief) -> bool:
        return True

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        """Yield drafts as answers arrive; Unready when the server answers none of the requests."""
        message = prompt.user_message(brief)
        told = prompt.digests(message)
        asked: list[asyncio.Task[str]] = [asyncio.create_task(self._attempt(message)) for _ in range(wanted)]
        failure: Unready | None = None
        answered = False
        try:
            for rank, finished in enumerate(asyncio.as_completed(asked)):
                try:
                    code = extract_code(await finished, brief.specification.entry_point)
                except Unready as error:
                    failure = error
                    continue
                answered = True
                if code:
                    yield Draft(code, self.name, float(rank), self._model.model, told)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if failure is not None and not answered:
            raise failure

    @operation("codegen.write_tests", outside=True)
    async def tests(self, brief: Brief) -> Sequence[str]:
        """Ask for test cases; what a model believes is evidence, not truth."""
        answer = await self._complete(prompt.tests_message(brief), _TESTS_TEMPERATURE)
        return prompt.asserts_in(answer, brief.specification.entry_point)

    @operation("codegen.attempt", outside=True)
    async def _attempt(self, message: str) -> str:
        return await self._complete(message, self._temperature)

    async def _complete(self, message: str, temperature: float) -> str:
        running = current_operation()
        if running is not None:
            running.note(generator=self.name, prompt_sha256=hashlib.sha256(message.encode()).hexdigest())
        async with self._slots:
            return await self._model.complete(prompt.SYSTEM, message, temperature)
