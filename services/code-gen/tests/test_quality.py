"""Report, score and matrix: what the requester said decides, and nothing grows beyond its bounds."""

import json
from typing import Any

import pytest
from grace_code_gen.domain.candidate import ERROR, LIMIT, MAX_MATRIX_BYTES, Question, execution_matrix
from grace_code_gen.domain.evidence import checks_of, heavy_probes, results_of
from grace_code_gen.domain.probes import Call
from grace_code_gen.domain.quality import quality_score
from grace_code_gen.domain.report import MAX_REPORT_BYTES, EvaluationReport, Finding, Limits, ProbeResult, fitted
from grace_code_gen.domain.verdict import Answer, Run, Step, step_verdict, verdict_of
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = st.sampled_from(["example", "test", "generated", "generated-test"])
VERDICTS = st.sampled_from(["passed", "failed", "error", "timeout", "memory", "observed"])
RESULTS = st.lists(
    st.builds(
        ProbeResult,
        probe=st.from_regex(r"[a-z][0-9]{1,3}", fullmatch=True),
        kind=KINDS,
        verdict=VERDICTS,
        digest=st.just("0" * 16),
        shown=st.text(st.characters(codec="ascii"), max_size=200),
        cpu_ms=st.integers(0, 10**7).map(lambda us: us / 1000),
    ),
    max_size=30,
)
FINDINGS = st.lists(
    st.builds(
        Finding,
        tool=st.sampled_from(["ruff", "mypy", "bandit"]),
        rule=st.just("X100"),
        severity=st.sampled_from(["low", "medium", "high"]),
        line=st.integers(0, 10_000),
        message=st.text(st.characters(codec="ascii"), max_size=160),
    ),
    max_size=20,
)


def result(kind: Any, verdict: Any, **more: Any) -> ProbeResult:
    return ProbeResult(probe="p0", kind=kind, verdict=verdict, **more)


def finding(tool: Any, severity: Any = "medium") -> Finding:
    return Finding(tool=tool, rule="X", severity=severity, line=1, message="m")


@given(RESULTS, FINDINGS, st.integers(0, 100))
def test_one_failing_example_or_test_keeps_the_score_below_a_half_and_all_passing_above(
    results: list[ProbeResult], findings: list[Finding], complexity: int
) -> None:
    score = quality_score(True, results, findings, complexity)
    given_ = [one.verdict for one in results if one.kind in ("example", "test")]

    assert 0 <= score <= 1
    if given_:
        assert (score < 0.5) == (set(given_) != {"passed"})


def test_the_formula_is_the_one_in_the_document() -> None:
    passed = result("example", "passed")

    assert quality_score(False, [passed], [], 1) == 0
    assert quality_score(True, [passed], [], 1) == 1.0
    assert quality_score(True, [], [], 1) == 0.75
    assert quality_score(True, [passed, result("test", "failed")], [], 1) == 0.225
    assert quality_score(True, [passed, result("generated", "error"), result("generated", "observed")], [], 1) == 0.925
    assert quality_score(True, [passed], [finding("mypy")], 1) == 0.9625
    assert quality_score(True, [passed], [finding("ruff")], 1) == 0.985
    assert quality_score(True, [passed], [finding("bandit", "high")], 1) == 0.92
    assert quality_score(True, [passed], [], 20) == 0.975
    assert quality_score(True, [result("example", "passed", cpu_ms=10_000)], [], 1) == 0.95


def report(results: list[ProbeResult], findings: list[Finding]) -> EvaluationReport:
    return EvaluationReport(
        code_sha256="0" * 64,
        entry_point="f" * 100,
        checks=checks_of(None, results, findings, (), 3, 100),
        results=tuple(results),
        findings=tuple(findings),
        findings_total=len(findings),
        quality_score=0.5,
        limits=Limits(cpu_s=1, total_cpu_s=3, wall_s=10, memory_mib=256),
        tools={"ruff": "1"},
    )


@settings(max_examples=30)
@given(RESULTS, FINDINGS)
def test_a_report_fits_its_bound_whatever_was_shown_and_keeps_every_verdict(
    results: list[ProbeResult], findings: list[Finding]
) -> None:
    full = report((results * 10)[:150], (findings * 5)[:50])
    short = fitted(full)

    assert len(short.model_dump_json().encode()) < MAX_REPORT_BYTES
    assert [one.verdict for one in short.results] == [one.verdict for one in full.results]
    assert (short.passed, short.failed, short.findings_total) == (full.passed, full.failed, full.findings_total)


def test_the_largest_report_fits_its_bound() -> None:
    loud = ProbeResult(
        probe="g1234", kind="generated", verdict="observed", digest="0" * 16, shown="\\" * 200, cpu_ms=123.456
    )
    step = ProbeResult(probe="t1234", kind="generated-test", verdict="timeout", shown="\\" * 200)
    wordy = Finding(tool="ruff", rule="X" * 60, severity="low", line=99_999, message="\\" * 160)

    assert len(fitted(report([loud] * 90 + [step] * 100, [wordy] * 50)).model_dump_json().encode()) < MAX_REPORT_BYTES


def test_a_report_counts_what_the_requester_gave() -> None:
    counted = report([result("example", "passed"), result("test", "timeout"), result("generated-test", "failed")], [])

    assert (counted.passed, counted.failed) == (1, 1)


def test_checks_of_code_that_never_ran_are_absent() -> None:
    verdicts = {check.name: check.verdict for check in checks_of("does not define f", (), (), ("ruff",), 0, 0)}

    assert verdicts["parses"] == "passed"
    assert verdicts["defines entry point"] == "failed"
    assert {verdicts[name] for name in ("examples", "ruff", "time", "memory", "generated probes")} == {"absent"}


def test_outputs_are_classes_per_probe() -> None:
    questions = [
        Question("e0", "example", "f(1)"),
        Question("g0", "generated", "f(2)"),
        Question("m0", "generated-test", "x"),
    ]
    one = [
        result("example", "passed", digest="a"),
        result("generated", "observed", digest="a"),
        result("generated-test", "passed"),
    ]
    two = [
        result("example", "failed", digest="b"),
        result("generated", "observed", digest="b"),
        result("generated-test", "failed"),
    ]
    three = [
        result("example", "failed", digest="c"),
        result("generated", "observed", digest="a"),
        result("generated-test", "error"),
    ]
    four = [result("example", "timeout"), result("generated", "memory"), result("generated-test", "timeout")]

    matrix = execution_matrix(questions, [one, two, three, four, []])

    assert matrix.rows == ((0, 0, 0), (1, 1, 1), (2, 0, ERROR), (LIMIT, LIMIT, LIMIT), (ERROR, ERROR, ERROR))
    assert [probe.expected for probe in matrix.probes] == [0, None, None]


def test_the_matrix_of_a_large_round_fits_its_bound() -> None:
    questions = [Question(f"g{n}", "generated", "f(" + "9" * 300 + ")") for n in range(60)]
    rows = [[result("generated", "observed", digest=str(row)) for _ in range(60)] for row in range(40)]

    matrix = execution_matrix(questions, rows)
    text = json.dumps([[probe.model_dump() for probe in matrix.probes], matrix.rows], separators=(",", ":"))

    assert len(text) < MAX_MATRIX_BYTES


@pytest.mark.parametrize(
    ("status", "note", "verdict"),
    [
        ("raised", "MemoryError: ", "memory"),
        ("raised", "ValueError: MemoryError", "error"),
        ("timeout", "", "timeout"),
        ("overspent", "", "timeout"),
        ("abandoned", "", "error"),
        ("flooded", "", "error"),
        ("answered", "", "observed"),
    ],
)
def test_what_is_no_answer_has_a_verdict_all_the_same(status: str, note: str, verdict: str) -> None:
    assert verdict_of(Answer(status, note=note), None, known=False) == verdict


@pytest.mark.parametrize("worse", ["failed", "timeout", "memory", "error"])
def test_a_step_reached_often_has_the_worst_of_its_verdicts(worse: str) -> None:
    steps = (Step(0, "passed", ""), Step(0, worse, "why"), Step(0, "passed", ""), Step(1, "passed", ""))

    assert step_verdict(steps, 0) == (worse, "why")
    assert step_verdict(steps, 2) is None


def test_a_probe_is_heavy_when_it_stops_most_pilots_and_not_when_it_was_never_put() -> None:
    def pilot(*verdicts_: tuple[str, str, str]) -> list[ProbeResult]:
        return [
            ProbeResult(probe=f"g{n}", kind=kind, verdict=verdict, shown=note)
            for n, (kind, verdict, note) in enumerate(verdicts_)
        ]

    stopped, unput = ("generated", "timeout", "used more"), ("generated", "timeout", "not run: spent")
    fine, example = ("generated", "observed", "1"), ("example", "timeout", "used more")

    assert heavy_probes([pilot(stopped, unput, stopped, example), pilot(stopped, unput, fine, example)]) == {"g0"}


def test_results_follow_the_order_of_the_questions() -> None:
    run = Run(
        (Answer("answered", 1), Answer("raised", note="E: \u00e9", line=2)),
        ((Step(1, "passed", ""),),),
        ("early",),
        1,
        1,
    )

    results = results_of([Call("e0", (), 1, known=True), Call("g0", ())], 0, 2, run)

    assert [(one.probe, one.verdict, one.shown) for one in results] == [
        ("e0", "passed", "1"),
        ("g0", "error", "E: \\xe9 (line 2)"),
        ("m0", "error", "early"),
        ("m1", "passed", ""),
    ]
