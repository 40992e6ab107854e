"""The sandbox and the static tools, kept open while the service runs; nothing runs while one of them is missing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from grace_common.contract.errors import Unready

from grace_code_gen.adapters.evaluator import Evaluation, Evaluator
from grace_code_gen.adapters.sandbox import Sandbox, SandboxSettings
from grace_code_gen.adapters.static_checks import StaticChecks
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.specification import Specification

_LOOK_AGAIN_S: Final = 2.0
_TRIES: Final = 3
_log = structlog.get_logger(__name__)


class OpenWorkbench:
    """Implements `Workbench`. `run` keeps trying to open it; whoever needs it waits, so no task is lost meanwhile."""

    def __init__(self, settings: SandboxSettings, *, look_again_s: float = _LOOK_AGAIN_S) -> None:
        self._settings = settings
        self._look_again_s = look_again_s
        self._opened = asyncio.Event()
        self._evaluator: Evaluator | None = None
        self._lost = asyncio.Event()
        self._missing = "the sandbox is being opened"

    async def run(self) -> None:
        """Open the sandbox and hold it until cancelled; while a layer is missing, look again every now and then.

        One that is lost while it is open is opened again, which shows what is missing now.
        """
        while True:
            try:
                with StaticChecks() as checks:
                    async with Sandbox(self._settings) as sandbox:
                        self._evaluator = Evaluator(sandbox, checks)
                        self._opened.set()
                        _log.info("sandbox_open", layers=str(sandbox.layers))
                        await self._lost.wait()
            except Unready as error:
                if str(error) != self._missing:
                    _log.error("sandbox_missing", what=str(error))
                self._missing = str(error)
                await asyncio.sleep(self._look_again_s)
            finally:
                self._close()
                self._lost.clear()

    async def check(self) -> None:
        """Raise Unready while the sandbox is not open."""
        if self._evaluator is None:
            raise Unready(self._missing)

    async def evaluate(
        self,
        specification: Specification,
        candidates: Sequence[str],
        on_report: Callable[[int, EvaluationReport], Awaitable[None]] | None = None,
        generated_tests: Sequence[str] = (),
    ) -> Evaluation:
        """Wait until the sandbox is open, then evaluate; when it is lost meanwhile, wait again and begin anew.

        raises  Unready when that helps not: the sandbox opens, and this work does not go through it
        """
        for _ in range(_TRIES):
            await self._opened.wait()
            evaluator = self._evaluator
            if evaluator is None:
                continue
            try:
                return await evaluator.evaluate(specification, candidates, on_report, generated_tests)
            except Unready as error:
                if self._evaluator is evaluator:
                    _log.error("sandbox_lost", what=str(error))
                    self._missing = str(error)
                    self._close()
                    self._lost.set()
        raise Unready(self._missing)

    def _close(self) -> None:
        self._opened.clear()
        self._evaluator = None
