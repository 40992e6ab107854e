"""Evaluation of whole rounds with real tools and the real sandbox."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from grace_code_gen.adapters.evaluator import Evaluator, plan
from grace_code_gen.adapters.sandbox import Sandbox, SandboxSettings
from grace_code_gen.adapters.static_checks import StaticChecks, complexity
from grace_code_gen.domain.report import EvaluationReport
from grace_code_gen.domain.specification import Example, Specification
from grace_common.contract.errors import Refused

ADD = Specification(
    "Add two numbers",
    "add",
    signature="def add(x: int, y: int) -> int:",
    examples=(Example((1, 2), 3), Example((5, 7), 12)),
    tests="def check(candidate):\n    assert candidate(0, 0) == 0\n    assert candidate(-1, 1) == 0\n",
)
RIGHT = "def add(x: int, y: int) -> int:\n    return x + y\n"
WRONG = "def add(x: int, y: int) -> int:\n    return x * y + 1\n"
LOOPS = "def add(x: int, y: int) -> int:\n    while True:\n        pass\n"
BROKEN = "def add(x, y:\n"
NAMELESS = "def sum(x, y):\n    return x + y\n"


@dataclass
class Heard:
    """Collects reports as they come."""

    reports: list[tuple[int, EvaluationReport]] = field(default_factory=list)

    async def __call__(self, number: int, report: EvaluationReport) -> None:
        self.reports.append((number, report))


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    settings = SandboxSettings(cpu_s=0.2, total_cpu_s=0.4, slots=1, uid_base=61_500)
    async with Sandbox(settings) as sandbox:
        with StaticChecks() as checks:
            yield Evaluator(sandbox, checks)


def verdicts(report: EvaluationReport) -> dict[str, str]:
    return {check.name: check.verdict for check in report.checks}


async def test_a_round_has_a_report_per_candidate_and_a_matrix(evaluator: Evaluator) -> None:
    heard, candidates = Heard(), [RIGHT, WRONG, LOOPS, BROKEN, NAMELESS, RIGHT]

    evaluation = await evaluator.evaluate(ADD, candidates, heard, ["assert add(2, 2) == 4", "assert", "x = 1"])

    right, wrong, loops, broken, nameless, again = evaluation.reports
    assert heard.reports == list(enumerate(evaluation.reports))
    assert again == right
    assert right.code_sha256 == hashlib.sha256(RIGHT.encode()).hexdigest()
    assert (right.passed, right.failed) == (4, 0)
    assert right.quality_score == 1.0
    assert set(verdicts(right).values()) == {"passed"}
    assert (wrong.passed, wrong.failed) == (2, 2)  # 1 * 2 + 1 is 3 by luck, and -1 * 1 + 1 is 0
    assert wrong.quality_score < 0.5
    assert verdicts(loops)["time"] == "failed"
    assert {result.verdict for result in loops.results} == {"timeout"}
    assert verdicts(broken)["parses"] == "failed"
    assert verdicts(nameless)["parses"] == "passed"
    assert verdicts(nameless)["defines entry point"] == "failed"
    assert (broken.quality_score, nameless.quality_score) == (0, 0)

    probes, rows = evaluation.matrix.probes, evaluation.matrix.rows
    assert [probe.label for probe in probes[:2]] == ["add(1, 2)", "add(5, 7)"]
    assert [probe.label for probe in probes[-3:]] == [
        "candidate(0, 0) == 0",
        "candidate(-1, 1) == 0",
        "add(2, 2) == 4",
    ]
    assert [row[:2] for row in rows] == [(0, 0), (0, 1), (-2, -2), (-1, -1), (-1, -1), (0, 0)]
    assert rows[0] == rows[5]


async def test_generated_probes_that_stop_the_pilots_are_not_asked(evaluator: Evaluator) -> None:
    asked = Specification("w", "f", signature="def f(x: int):", examples=(Example((3,), 3), Example((9,), 9)))
    loops_below_three = "def f(x):\n    while x < 3:\n        pass\n    return x\n"

    evaluation = await evaluator.evaluate(
        asked, [loops_below_three, loops_below_three + "# again\n"], None, ["assert f(1)"]
    )

    asked_with = [probe.label for probe in evaluation.matrix.probes]
    assert "f(5)" in asked_with
    assert not {"f(0)", "f(1)", "f(2)"} & set(asked_with)
    assert {output for row in evaluation.matrix.rows for output in row} == {0}


async def test_evidence_is_the_same_however_often_it_is_taken(evaluator: Evaluator) -> None:
    def essence(report: EvaluationReport) -> list[object]:
        return [(one.probe, one.verdict, one.digest, one.shown) for one in report.results]

    code = "def add(x, y):\n    return list({str(x), str(y), 'a', 'b'})[0]\n"

    assert essence(await evaluator.evaluate_one(ADD, code)) == essence(await evaluator.evaluate_one(ADD, code))


async def test_the_tools_find_what_is_wrong_and_cannot_be_silenced(evaluator: Evaluator) -> None:
    code = (
        "import os  # noqa\nimport subprocess\n# mypy: ignore-errors\n\n\ndef add(x: int, y: int) -> int:\n"
        "    subprocess.call('true', shell=True)  # nosec\n    return 'a'  # type: ignore\n"
    )

    report = await evaluator.evaluate_one(ADD, code)

    found = {(finding.tool, finding.rule, finding.line) for finding in report.findings}
    assert {("ruff", "F401", 1), ("mypy", "return-value", 8), ("bandit", "B602", 7)} <= found
    assert {verdicts(report)[tool] for tool in ("ruff", "mypy", "bandit")} == {"failed"}
    assert report.tools.keys() >= {"ruff", "mypy", "bandit", "radon", "python"}


async def test_a_static_tool_out_of_time_is_absent_and_the_rest_stands() -> None:
    settings = SandboxSettings(slots=1, uid_base=61_500)
    async with Sandbox(settings) as sandbox:
        with StaticChecks(cpu_s=0) as checks:
            report = await Evaluator(sandbox, checks).evaluate_one(ADD, RIGHT)

    assert verdicts(report)["mypy"] == "absent"
    assert report.failed == 0


async def test_tests_that_are_no_python_are_refused_before_anything_runs(evaluator: Evaluator) -> None:
    with pytest.raises(Refused, match="the tests are no Python"):
        await evaluator.evaluate(Specification("w", "add", tests="assert ("), [RIGHT])


async def test_code_without_examples_is_unproven(evaluator: Evaluator) -> None:
    report = await evaluator.evaluate_one(Specification("Add", "add"), "add = lambda x, y: x + y\n")

    assert verdicts(report)["examples"] == "absent"
    assert 0.5 < report.quality_score <= 0.75


async def test_reports_and_matrix_fit_their_events(evaluator: Evaluator) -> None:
    shout = "def add(x, y):\n    return '\\\\' * 50_000\n"
    remarks = "def add(x, y):\n" + "".join(f"    a{n} = undefined_{n}\n" for n in range(300)) + "    return 1\n"

    evaluation = await evaluator.evaluate(ADD, [shout, remarks] * 20)

    assert all(len(report.model_dump_json()) < 24 * 1024 for report in evaluation.reports)
    assert evaluation.reports[1].findings_total >= 300
    assert len(evaluation.reports[1].findings) <= 50
    matrix = [[probe.model_dump() for probe in evaluation.matrix.probes], evaluation.matrix.rows]
    assert len(json.dumps(matrix, separators=(",", ":"))) < 16 * 1024


def test_the_plan_asks_generated_tests_once_each() -> None:
    asked = plan(ADD, ["assert add(1, 1) == 2", "assert add(1, 1) == 2", "import os"])

    assert [question.id for question in asked.questions() if question.kind == "generated-test"] == ["m0"]


def test_complexity_is_the_worst_functions_and_unknown_where_nothing_parses() -> None:
    assert complexity("def f(x):\n    if x:\n        return 1\n    return 2\ndef g(): pass\n") == 2
    assert complexity("x = 1\n") == 0
    assert complexity("def f(:\n") == 0
