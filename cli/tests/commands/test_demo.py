"""The demo against a gateway that plays every task's life: what is shown, counted, checked and returned."""

import io
import json
from pathlib import Path

import pytest
from grace_cli.demo.batch import in_parallel
from grace_cli.demo.board import Board
from grace_cli.demo.driving import Outcome, conclude
from grace_cli.demo.hidden_check import run_check
from grace_cli.demo.task_files import own_tasks, tasks_in
from grace_cli.display import candidate_table
from grace_cli.errors import CliError, Exit
from grace_cli.stack.home import Home
from grace_cli.story import Candidate, Story
from rich.console import Console

from .conftest import Run
from .fake_gateway import GOOD, OTHER, FakeGateway

FIBONACCI = """def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
"""
CHECK = "def check(candidate):\n    assert candidate(3) == 6\n"


def solutions(requirements: str) -> str | None:
    if "fibonacci" in requirements:
        return FIBONACCI
    return {"Double it": GOOD, "Double it wrongly": OTHER}.get(requirements)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tasks: one that is solved, one whose code is wrong, one for which nothing is found."""
    tasks = [
        {"id": name, "requirements": requirements, "entry_point": "double", "check": CHECK}
        for name, requirements in (("good", "Double it"), ("wrong", "Double it wrongly"), ("none", "Do the impossible"))
    ]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "dev.json").write_text(json.dumps({"source": "here", "tasks": tasks}))
    (tmp_path / "tasks" / "recorded.json").write_text(json.dumps({"tasks": [{"id": "good", "completions": []}]}))
    return tmp_path / "tasks"


@pytest.fixture
def stack(gateway: FakeGateway, home: Home) -> Home:
    gateway.solves = solutions
    (home.publication / "vkey").write_text(f"{gateway.ledger.log.key}\n")
    gateway.lists["ledger"] = [{"index": number} for number in range(450)]
    return home


def test_the_demo_shows_every_step_and_says_honestly_what_was_not_solved(
    run: Run, gateway: FakeGateway, stack: Home, folder: Path
) -> None:
    outcome = run("demo", "--tasks", str(folder))

    assert outcome.code == Exit.OK, outcome.error
    for shown in (
        "Create a function to calculate fibonacci",
        "approach: enumerate",
        "ada guides: Iterate rather than recurse",
        "candidate 1 by synthesis: passes 2 of 2 given checks, quality 0.90",
        "the consensus chose candidate 1 with confidence 0.80",
        "dissent: 1 candidate, weight 0.20: double(3): 5 instead of 6",
        "grace approved",
        "a, b = b, a + b",
        "Entry 307 attests its review",
        "2 of 4 tasks solved; 3 artifacts delivered, 3 receipts verified.",
        "wrong: AssertionError assert candidate(3) == 6",
        "none: no candidate: no program in budget",
        "Stop it: grace down",
    ):
        assert shown in outcome.out, shown
    assert "450" in outcome.out
    approvals = [user for method, path, user, _ in gateway.asked if path.endswith("/approval")]
    assert approvals == ["grace"] * 3
    saved = stack.state("demo") / "fibonacci.py"
    assert saved.read_text() == FIBONACCI


def test_the_demo_tells_programs_the_same(run: Run, stack: Home, folder: Path) -> None:
    outcomes = {one["task"]: one for one in run("demo", "--tasks", str(folder), "--json").json["outcomes"]}

    assert list(outcomes) == ["fibonacci", "good", "wrong", "none"]
    assert [one["solved"] for one in outcomes.values()] == [True, True, False, False]
    assert [one["receipt_verified"] for one in outcomes.values()] == [True, True, True, None]
    assert outcomes["good"]["confidence"] == 0.8
    assert outcomes["none"]["why_not"] == "no candidate: no program in budget"


def test_grace_never_sees_the_hidden_checks(run: Run, gateway: FakeGateway, stack: Home, folder: Path) -> None:
    run("demo", "--tasks", str(folder))

    assert CHECK.splitlines()[1].strip() not in json.dumps([body for *_, body in gateway.asked])


def test_a_receipt_that_does_not_verify_fails_the_demo(run: Run, gateway: FakeGateway, stack: Home) -> None:
    (stack.publication / "vkey").write_text(f"{gateway.ledger.ca.named('another.example/log')}\n")

    outcome = run("demo")

    assert outcome.code == Exit.FAILED
    assert outcome.error is not None
    assert "the receipt does not hold" in outcome.error.message


def test_a_main_job_without_result_ends_the_demo(run: Run, gateway: FakeGateway, stack: Home) -> None:
    gateway.solves = lambda requirements: None

    outcome = run("demo")

    assert outcome.code == Exit.FAILED
    assert outcome.error is not None
    assert "no program in budget" in outcome.error.message


def test_the_demo_needs_this_machines_two_people(run: Run) -> None:
    assert run("demo", environ={"GRACE_URL": "https://grace.example.org"}).code == Exit.USAGE


def test_the_ten_own_tasks_are_whole_and_their_checks_can_fail() -> None:
    tasks = own_tasks()

    assert len(tasks) == 10
    assert len({task.id for task in tasks}) == 10
    for task in tasks:
        assert task.request["signature"].startswith(f"def {task.entry_point}(")
        assert len(task.request["examples"]) >= 3
        assert "check" not in task.request
        nothing = run_check(f"def {task.entry_point}(*args):\n    return None\n", task.check, task.entry_point)
        assert nothing.passed is False


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"tasks": []}', "has no tasks"),
        ('{"id": "x", "requirements": "y"}', "lacks entry_point, check"),
    ],
)
def test_a_folder_without_good_tasks_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tasks.json").write_text(content)

    with pytest.raises(CliError, match=message):
        tasks_in(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="is no folder"):
        tasks_in(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def double(n):\n    return n", "AssertionError assert candidate(3) == 6"),
        ("def double(n):\n    raise SystemExit(0)", "SystemExit"),
        ("import os\ndef double(n):\n    os._exit(0)", "ended with code 0 before its end"),
        ("def double(n):\n    while True: pass", "end"),
        ("def double(n):\n    return bytes(2 << 30)", "MemoryError"),
        ("def double(n):\n    return open('/etc/passwd').read()", "FileNotFoundError"),
        ("import socket\ndef double(n):\n    socket.create_connection(('127.0.0.1', 22))", "refused"),
        ("def double(n)", "SyntaxError"),
        ("def triple(n):\n    return 6", "KeyError"),
    ],
)
def test_code_that_is_wrong_or_hostile_does_not_pass_its_check(code: str, reason: str) -> None:
    result = run_check(code, CHECK, "double", cpu_s=2)

    assert result.passed is False
    assert reason in result.reason


def test_right_code_passes_its_check() -> None:
    assert run_check(GOOD, CHECK, "double").passed is True


def test_without_a_sandbox_nothing_is_run(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)

    result = run_check(GOOD, CHECK, "double", bubblewrap=str(broken))

    assert result.passed is None
    assert "No permissions" in result.reason


def test_what_one_task_raises_is_raised_where_the_others_are_awaited() -> None:
    def divide(divisor: int) -> int:
        return 6 // divisor

    assert dict(in_parallel([1, 2, 3], 2, divide)) == {0: 6, 1: 3, 2: 2}
    with pytest.raises(ZeroDivisionError):
        list(in_parallel([1, 0], 2, divide))


def test_a_person_at_a_terminal_sees_how_far_each_task_is() -> None:
    console = Console(force_terminal=True, width=100, file=io.StringIO())
    story = Story("t", {}, state="evaluating")
    story.candidates["c"] = Candidate("c", "r", 0, "synthesis", GOOD, quality=0.9)

    with Board(console, ["slug", "initials", "duration"]) as board:
        board.line("slug").show(story, "candidate-evaluated", {})
        board.finish(Outcome("initials", state="failed", why="no candidate"))

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 1 candidates evaluated" in shown
    assert "no candidate" in shown
    assert "… 1 more" in shown


def test_an_abstention_and_an_unexplained_end_are_told_as_they_are() -> None:
    abstained = Story(
        "t", {}, state="failed", decision={"verdict": "abstained", "confidence": 0.3, "reasons": ["a tie"]}
    )
    other = Story("t", {}, state="failed", ended={"reason": "the deadline passed"})
    other.candidates["c"] = Candidate("c", "r", 0, "synthesis", GOOD)
    whys = []

    for story in (abstained, other):
        outcome = Outcome("task")
        conclude(outcome, story)
        whys.append(outcome.why)

    assert whys == ["the consensus abstained: a tie", "the deadline passed"]


def test_the_candidates_table_keeps_every_column_beside_long_code() -> None:
    console = Console(width=90, file=io.StringIO())
    story = Story("t", {})
    body = "    return " + " + ".join(["n"] * 200) + "\n"
    story.candidates["c"] = Candidate("c", "r", 0, "synthesis", f"def f(n):\n{body}", 0.91, 3, 1)

    console.print(candidate_table(story))

    row = console.file.getvalue().splitlines()[1]  # type: ignore[attr-defined]
    assert row.split()[:5] == ["1", "synthesis", "3/4", "0.91", "—"]
    assert "return n + n" in row
