"""The evidence a candidate carries: what was checked, how, and with which verdict. Travels inside an event."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final, Literal

from grace_common.contract.events.base import Contract, Sha256, Share
from grace_common.contract.events.candidate import ProbeKind
from pydantic import Field

from grace_code_gen.domain.verdict import Verdict

MAX_REPORT_BYTES: Final = 24 * 1024  # half of an envelope; the candidate's code takes most of the other half
MAX_FINDINGS: Final = 50
MAX_RESULTS: Final = 200  # 50 examples, 40 generated calls, 60 steps of tests and 40 of generated tests at most

CheckName = Literal[
    "parses",
    "defines entry point",
    "examples",
    "requester tests",
    "generated tests",
    "generated probes",
    "ruff",
    "mypy",
    "bandit",
    "complexity",
    "time",
    "memory",
]
CheckVerdict = Literal["passed", "failed", "absent"]  # absent: there was nothing to check, or no way to get that far
Severity = Literal["low", "medium", "high"]


class Check(Contract):
    """One named check."""

    name: CheckName
    verdict: CheckVerdict
    note: Annotated[str, Field(max_length=200)] = ""


class ProbeResult(Contract):
    """What the candidate did with one probe.

    digest    output class, see `values.digest`; None where there is no output
    shown     the output or the reason, printable ASCII; shortened when the report would grow too large
    """

    probe: Annotated[str, Field(pattern=r"^[a-z][0-9]{1,4}$")]
    kind: ProbeKind
    verdict: Verdict
    digest: Annotated[str, Field(max_length=16)] | None = None
    shown: Annotated[str, Field(max_length=200)] = ""
    cpu_ms: Annotated[float, Field(ge=0)] = 0.0


class Finding(Contract):
    """One remark of a static tool about one line."""

    tool: Literal["ruff", "mypy", "bandit"]
    rule: Annotated[str, Field(max_length=60)]
    severity: Severity
    line: Annotated[int, Field(ge=0)]
    message: Annotated[str, Field(max_length=160)]


class Limits(Contract):
    """The bounds the candidate ran under."""

    cpu_s: float
    total_cpu_s: float
    wall_s: float
    memory_mib: int


class EvaluationReport(Contract):
    """All evidence about one candidate, below MAX_REPORT_BYTES as JSON.

    findings          the first MAX_FINDINGS at most; `findings_total` counts all
    results           one per probe, in the probes' order
    peak_kib, cpu_ms  of all the candidate's processes, above an idle interpreter's
    complexity        highest cyclomatic complexity of its functions, 0 when unknown
    """

    code_sha256: Sha256
    entry_point: str
    checks: tuple[Check, ...]
    results: Annotated[tuple[ProbeResult, ...], Field(max_length=MAX_RESULTS)] = ()
    findings: Annotated[tuple[Finding, ...], Field(max_length=MAX_FINDINGS)] = ()
    findings_total: Annotated[int, Field(ge=0)] = 0
    quality_score: Share
    complexity: Annotated[int, Field(ge=0)] = 0
    cpu_ms: Annotated[float, Field(ge=0)] = 0.0
    peak_kib: Annotated[int, Field(ge=0)] = 0
    limits: Limits
    tools: dict[str, str] = Field(default_factory=dict)

    @property
    def passed(self) -> int:
        """How many of the requester's examples and tests passed."""
        return sum(result.verdict == "passed" for result in _given(self.results))

    @property
    def failed(self) -> int:
        """How many of the requester's examples and tests did not pass."""
        return sum(result.verdict != "passed" for result in _given(self.results))


def _given(results: Sequence[ProbeResult]) -> Iterator[ProbeResult]:
    return (result for result in results if result.kind in ("example", "test"))


def fitted(report: EvaluationReport) -> EvaluationReport:
    """Return the report shortened, if need be, below MAX_REPORT_BYTES: first what probes nobody gave showed, then the
    findings' tail, then what all probes showed. Verdicts, digests and counts always stay.
    """
    for short in (_unchanged, _hide_generated, _halve_findings, _hide_passed, _hide_all, _drop_findings):
        report = short(report)
        if len(report.model_dump_json().encode()) < MAX_REPORT_BYTES:
            return report
    return report


def _unchanged(report: EvaluationReport) -> EvaluationReport:
    return report


def _hide_generated(report: EvaluationReport) -> EvaluationReport:
    return _show(report, lambda result: 20 if result.kind in ("generated", "generated-test") else 200)


def _halve_findings(report: EvaluationReport) -> EvaluationReport:
    return report.model_copy(update={"findings": report.findings[: MAX_FINDINGS // 2]})


def _hide_passed(report: EvaluationReport) -> EvaluationReport:
    return _show(
        report, lambda result: 200 if result.verdict in ("failed", "error") and result.kind == "example" else 0
    )


def _hide_all(report: EvaluationReport) -> EvaluationReport:
    return _show(report, lambda result: 0)


def _drop_findings(report: EvaluationReport) -> EvaluationReport:
    return report.model_copy(update={"findings": ()})


def _show(report: EvaluationReport, characters: Callable[[ProbeResult], int]) -> EvaluationReport:
    results = [result.model_copy(update={"shown": result.shown[: characters(result)]}) for result in report.results]
    return report.model_copy(update={"results": tuple(results)})
