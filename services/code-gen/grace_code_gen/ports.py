"""The outside as the handlers wish to see it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from grace_code_gen.domain.approach import Catalogue
from grace_code_gen.domain.candidate import ExecutionMatrix
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.running import Running
from grace_code_gen.domain.specification import Specification


class Generator(Protocol):
    """A source of candidates."""

    @property
    def name(self) -> str:
        """How candidates are signed: `synthesis`, `openai:qwen3`; one name is one family of correlated voters."""
        ...

    @property
    def prose(self) -> bool:
        """Whether it can go by prose alone, and use failing evidence for another try: a language model."""
        ...

    def suits(self, brief: Brief) -> bool:
        """Return whether it has anything to go by for this task."""
        ...

    def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        """Yield at most `wanted` drafts as they are found; Unready when its server does not answer.

        Closing it, or cancelling whoever awaits it, leaves nothing running.
        """
        ...

    async def tests(self, brief: Brief) -> Sequence[str]:
        """Return assert statements that it believes to be right; they are evidence of their own, not truth."""
        ...


class Evaluation(Protocol):
    """Reports in the candidates' order, and the execution matrix."""

    @property
    def reports(self) -> Sequence[EvaluationReport]: ...

    @property
    def matrix(self) -> ExecutionMatrix: ...


class Workbench(Protocol):
    """The sandbox and the static tools."""

    async def evaluate(
        self,
        specification: Specification,
        candidates: Sequence[str],
        on_report: Callable[[int, EvaluationReport], Awaitable[None]] | None = None,
        generated_tests: Sequence[str] = (),
    ) -> Evaluation:
        """Evaluate candidates; waits while a layer of the sandbox is missing, for nothing runs without it.

        raises  Refused when the requester's tests cannot be run at all
        """
        ...


@dataclass(frozen=True)
class Ports:
    """repair_rounds: how often, at most, models are shown how all candidates failed and asked again."""

    generators: Sequence[Generator]
    workbench: Workbench
    catalogue: Catalogue
    repair_rounds: int = 1
    running: Running[UUID] = field(default_factory=Running)
