"""Evaluation of a round: every candidate through the sandbox and the static tools, one report each, and the matrix."""

import ast
import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from grace_common.contract.python_source import parsed

from grace_code_gen.adapters.sandbox import Sandbox, SandboxSettings, Session
from grace_code_gen.adapters.static_checks import StaticChecks, StaticEvidence
from grace_code_gen.domain import probes
from grace_code_gen.domain.candidate import ExecutionMatrix, Question, execution_matrix
from grace_code_gen.domain.evidence import checks_of, heavy_probes, results_of
from grace_code_gen.domain.quality import quality_score
from grace_code_gen.domain.report import MAX_FINDINGS, EvaluationReport, Limits, ProbeResult, fitted
from grace_code_gen.domain.requester_tests import Suite, suite
from grace_code_gen.domain.specification import Specification
from grace_code_gen.domain.verdict import Run

MAX_GENERATED_TESTS: Final = 40
PILOTS: Final = 3
PILOT_ROUNDS: Final = 4  # each finds as many heavy probes as a candidate's budget lets it meet

OnReport = Callable[[int, EvaluationReport], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One report per candidate, in the candidates' order, and how they compare."""

    reports: tuple[EvaluationReport, ...]
    matrix: ExecutionMatrix


@dataclass(frozen=True, slots=True)
class Plan:
    """All that every candidate of one round is asked."""

    entry_point: str
    calls: tuple[probes.Call, ...]
    arguments: tuple[tuple[Any, ...], ...]
    tests: Suite | None
    asserts: tuple[str, ...]  # generated tests

    @property
    def generated_tests(self) -> Suite | None:
        return suite("\n".join(self.asserts)) if self.asserts else None

    @property
    def given(self) -> int:
        """How many of the calls are the requester's examples; they come first."""
        return sum(call.known for call in self.calls)

    def without(self, heavy: set[str]) -> "Plan":
        """Return the plan less some generated probes; the generated tests that stay are numbered anew."""
        kept = [number for number, call in enumerate(self.calls) if call.id not in heavy]
        return Plan(
            self.entry_point,
            tuple(self.calls[number] for number in kept),
            tuple(self.arguments[number] for number in kept),
            self.tests,
            tuple(text for number, text in enumerate(self.asserts) if f"m{number}" not in heavy),
        )

    def questions(self) -> list[Question]:
        """Return the questions in the order in which `evidence.results_of` answers them."""
        asked = [
            Question(
                call.id,
                "example" if call.known else "generated",
                f"{self.entry_point}({', '.join(map(repr, arguments))})",
            )
            for call, arguments in zip(self.calls, self.arguments, strict=True)
        ]
        asked += [Question(f"t{index}", "test", label) for index, label in enumerate(_labels(self.tests))]
        asked += [
            Question(f"m{index}", "generated-test", label) for index, label in enumerate(_labels(self.generated_tests))
        ]
        return asked

    def suites(self) -> list[Suite]:
        return [one for one in (self.tests, self.generated_tests) if one is not None]


def plan(specification: Specification, generated_tests: Sequence[str] = ()) -> Plan:
    """Return what to ask; Refused when the requester's tests or signature are no Python.

    generated_tests  assert statements that a model wrote; those that are none are left out
    """
    chance = Random(probes.seed_of(specification))
    calls = [*probes.example_calls(specification), *probes.generated_calls(specification, chance)]
    asserts = [text for text in dict.fromkeys(generated_tests) if _is_assert(text)][:MAX_GENERATED_TESTS]
    return Plan(
        entry_point=specification.entry_point,
        calls=tuple(calls),
        arguments=tuple(probes.bound(calls, specification.signature)),
        tests=suite(specification.tests) if specification.tests else None,
        asserts=tuple(asserts),
    )


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates candidates; both parts must be open."""

    sandbox: Sandbox
    checks: StaticChecks

    async def evaluate_one(self, specification: Specification, code: str) -> EvaluationReport:
        """Return the evidence about one piece of code."""
        return (await self.evaluate(specification, [code])).reports[0]

    async def evaluate(
        self,
        specification: Specification,
        candidates: Sequence[str],
        on_report: OnReport | None = None,
        generated_tests: Sequence[str] = (),
    ) -> Evaluation:
        """Return all reports and the matrix; `on_report` hears each as soon as it is complete.

        raises  Refused when the requester's tests are no Python; Unready when a layer of the sandbox is missing
        """
        asked = await asyncio.to_thread(plan, specification, generated_tests)
        codes = list(dict.fromkeys(candidates))
        runnable = [code for code in codes if _obstacle(code, specification.entry_point) is None]
        static = asyncio.create_task(self.checks.check(runnable))
        reports: dict[str, EvaluationReport] = {}
        results: dict[str, tuple[ProbeResult, ...]] = {}
        try:
            asked = await self._lightened(asked, runnable[:PILOTS])
            async with self.sandbox.session([one.source for one in asked.suites()]) as session:
                for number, candidate in enumerate(candidates):
                    if candidate not in reports:
                        report = await self._report(session, asked, candidate, runnable, static)
                        reports[candidate], results[candidate] = fitted(report), report.results
                    if on_report is not None:
                        await on_report(number, reports[candidate])
        finally:
            static.cancel()
            await asyncio.gather(static, return_exceptions=True)
        matrix = execution_matrix(asked.questions(), [results[candidate] for candidate in candidates])
        return Evaluation(tuple(reports[candidate] for candidate in candidates), matrix)

    async def _lightened(self, asked: Plan, pilots: Sequence[str]) -> Plan:
        """Return the plan without the generated probes that stop most of a few candidates: see `heavy_probes`."""
        for _ in range(PILOT_ROUNDS if len(pilots) > 1 else 0):
            async with self.sandbox.session([one.source for one in asked.suites()]) as session:
                results = [(await self._results(session, asked, code))[0] for code in pilots]
            heavy = heavy_probes(results)
            if not heavy:
                break
            asked = asked.without(heavy)
        return asked

    async def _results(self, session: Session, asked: Plan, code: str) -> tuple[tuple[ProbeResult, ...], Run]:
        given_suites = 0 if asked.tests is None else 1
        run = await session.run(code, asked.entry_point, asked.arguments, asked.given, given_suites)
        return results_of(asked.calls, len(_labels(asked.tests)), len(asked.asserts), run), run

    async def _report(
        self,
        session: Session,
        asked: Plan,
        code: str,
        runnable: Sequence[str],
        static: "asyncio.Task[list[StaticEvidence]]",
    ) -> EvaluationReport:
        obstacle = _obstacle(code, asked.entry_point)
        results: tuple[ProbeResult, ...] = ()
        evidence, peak_kib, cpu_ms = StaticEvidence(silent=("ruff", "mypy", "bandit")), 0, 0.0
        if obstacle is None:
            results, run = await self._results(session, asked, code)
            peak_kib, cpu_ms = run.peak_kib, run.cpu_ms
            evidence = (await static)[runnable.index(code)]
        settings = self.sandbox.settings
        return EvaluationReport(
            code_sha256=hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest(),
            entry_point=asked.entry_point,
            checks=checks_of(obstacle, results, evidence.findings, evidence.silent, evidence.complexity, peak_kib),
            results=results,
            findings=evidence.findings[:MAX_FINDINGS],
            findings_total=len(evidence.findings),
            quality_score=quality_score(obstacle is None, results, evidence.findings, evidence.complexity),
            complexity=evidence.complexity,
            cpu_ms=cpu_ms,
            peak_kib=peak_kib,
            limits=_limits(settings),
            tools={**self.checks.versions, "python": self.sandbox.layers.python},
        )


def _obstacle(code: str, entry_point: str) -> str | None:
    """Return why the code cannot be run at all, or None."""
    try:
        module = parsed(code)
    except SyntaxError as problem:
        return f"does not parse: {problem.msg} (line {problem.lineno})"
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == entry_point:
            return None
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == entry_point for t in node.targets):
            return None
    return f"does not define {entry_point}"


def _is_assert(text: str) -> bool:
    try:
        body = parsed(text).body
    except SyntaxError:
        return False
    return len(body) == 1 and isinstance(body[0], ast.Assert)


def _labels(tests: Suite | None) -> tuple[str, ...]:
    return tests.labels if tests is not None else ()


def _limits(settings: SandboxSettings) -> Limits:
    return Limits(
        cpu_s=settings.cpu_s, total_cpu_s=settings.total_cpu_s, wall_s=settings.wall_s, memory_mib=settings.memory_mib
    )
