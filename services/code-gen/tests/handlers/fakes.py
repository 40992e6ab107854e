"""Generators and a workbench as fakes, and what the handlers of code-gen are told."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from grace_code_gen.domain import probes
from grace_code_gen.domain.approach import Concept
from grace_code_gen.domain.candidate import ExecutionMatrix, Question, execution_matrix
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.report import Check, EvaluationReport, Finding, Limits, ProbeResult, fitted
from grace_code_gen.domain.specification import Example, Specification
from grace_code_gen.handlers import run_round
from grace_code_gen.ports import Ports
from grace_common.contract.events.base import Event
from grace_common.contract.events.round import RoundOpened
from grace_common.contract.events.task import Example as StatedExample
from grace_common.contract.events.task import Specification as Requested
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import Work
from grace_common.runtime.seal import Signer
from grace_common.testing.events import NOON, TASK, enveloped

ROUND = UUID("019ac000-0000-7000-8000-000000000002")
RIGHT = "def double(n):\n    return 2 * n\n"
ALSO_RIGHT = "def double(n):\n    return n + n\n"
WRONG = "def double(n):\n    return n * n\n"
BROKEN = "def double(n:\n"
DOUBLE = Requested(
    requirements="Double a number",
    entry_point="double",
    signature="def double(n: int) -> int:",
    examples=(StatedExample(args=(2,), expected=4), StatedExample(args=(3,), expected=6)),
)
PROSE = Requested(requirements="Frobnicate the widgets", entry_point="frobnicate")
SQUARE = Concept(
    "square", "square", "def square(n: int) -> int:", "Return n squared.", (Example((2,), 4), Example((3,), 9))
)


@dataclass(frozen=True)
class Listening(Work):
    """Work that keeps what is stated at once."""

    stated: list[Event] = field(default_factory=list)

    async def state(self, *events: Event) -> None:
        await asyncio.sleep(0)  # others get a turn, as they do while a transaction commits
        self.stated.extend(events)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.stated if isinstance(event, kind)]


@dataclass
class Writes:
    """A generator that writes what it is told to; asked again with evidence it writes `repaired`."""

    name: str
    codes: Sequence[str] = ()
    prose: bool = False
    asserts: Sequence[str] = ()
    repaired: Sequence[str] = ()
    fails: Exception | None = None
    briefs: list[Brief] = field(default_factory=list)
    closed: int = 0

    def suits(self, brief: Brief) -> bool:
        return self.prose or bool(brief.specification.examples)

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        self.briefs.append(brief)
        try:
            for rank, code in enumerate(self.repaired if brief.evidence else self.codes):
                await asyncio.sleep(0)
                yield Draft(code, self.name, float(rank))
            if self.fails is not None:
                raise self.fails
        finally:
            for _ in range(10):  # a process takes its time to end
                await asyncio.sleep(0)
            self.closed += 1

    async def tests(self, brief: Brief) -> Sequence[str]:
        return self.asserts


@dataclass
class Stuck(Writes):
    """A generator that never comes to an end by itself."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        self.briefs.append(brief)
        try:
            yield Draft(RIGHT, self.name, 0.0)
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.closed += 1


@dataclass
class Judges:
    """A workbench that knows which codes are right, and puts as many generated probes as the real one."""

    right: Sequence[str] = (RIGHT, ALSO_RIGHT)
    cpu_ms: float = 0.1
    fails: Exception | None = None
    heard: list[tuple[Specification, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    async def evaluate(
        self,
        specification: Specification,
        candidates: Sequence[str],
        on_report: Callable[[int, EvaluationReport], Awaitable[None]] | None = None,
        generated_tests: Sequence[str] = (),
    ) -> "Judged":
        self.heard.append((specification, tuple(candidates), tuple(generated_tests)))
        if self.fails is not None:
            raise self.fails
        questions = [
            Question(f"e{at}", "example", f"{specification.entry_point}{one.args!r}")
            for at, one in enumerate(specification.examples)
        ]
        questions += [Question(f"g{at}", "generated", f"generated input {at} " * 8) for at in range(probes.GENERATED)]
        questions += [Question(f"m{at}", "generated-test", text) for at, text in enumerate(generated_tests)]
        reports, results = [], []
        for number, code in enumerate(candidates):
            report = self._report(specification, code, questions)
            reports.append(fitted(report))
            results.append(report.results)
            if on_report is not None:
                await on_report(number, reports[-1])
        return Judged(tuple(reports), execution_matrix(questions, results))

    def _report(self, specification: Specification, code: str, questions: Sequence[Question]) -> EvaluationReport:
        parses = code != BROKEN
        results = [
            ProbeResult(
                probe=one.id,
                kind=one.kind,
                verdict="observed" if one.kind == "generated" else "passed" if code in self.right else "failed",
                digest=None if one.kind == "generated-test" else Draft(code, "", 0).sha256[:16],
                shown="9" * 200,
                cpu_ms=self.cpu_ms,
            )
            for one in questions
            if parses
        ]
        message = "a finding of the usual length, which says what is wrong with this line and why"
        return EvaluationReport(
            code_sha256=Draft(code, "", 0).sha256,
            entry_point=specification.entry_point,
            checks=(
                Check(name="parses", verdict="passed" if parses else "failed", note="" if parses else "does not parse"),
            ),
            results=tuple(results),
            findings=tuple(
                Finding(tool="ruff", rule="E999", severity="low", line=at, message=message) for at in range(50)
            ),
            quality_score=0.9 if code in self.right else 0.2,
            limits=Limits(cpu_s=1, total_cpu_s=3, wall_s=10, memory_mib=256),
            tools={"ruff": "0.14"},
        )


@dataclass(frozen=True)
class Judged:
    reports: tuple[EvaluationReport, ...]
    matrix: ExecutionMatrix


class Knows:
    """A catalogue of one concept."""

    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        return SQUARE if "square" in f"{requirements} {entry_point}" else None


def ports(*generators: Writes, workbench: Judges | None = None, repair_rounds: int = 1) -> Ports:
    return Ports(generators, workbench or Judges(), Knows(), repair_rounds)


def opened(specification: Requested = DOUBLE, **changes: object) -> RoundOpened:
    event = RoundOpened(task_id=TASK, round_id=ROUND, number=1, specification=specification, approach="as agreed")
    return event.model_copy(update=changes)


def listening(event: RoundOpened) -> Listening:
    envelope = enveloped(event)
    return Listening(envelope, operation_of(envelope.id), Signer("mtl-orchestrator", "ab", ()))


def operation_of(cause: UUID) -> Operation:
    return Operation(
        id=uuid5(cause, "code-gen.run_round"),
        name="code-gen.run_round",
        service="code-gen",
        actor="ada",
        subject=str(TASK),
        correlation=str(TASK),
        why=RoundOpened.TYPE,
        started_at=NOON,
        cause=cause,
    )


async def held(event: RoundOpened, given: Ports) -> tuple[Any, Listening]:
    work = listening(event)
    (answer,) = await run_round(event, given, work)
    return answer, work
