"""Asking for code, following it, guiding, approving: against a gateway that plays a task's life."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from grace_cli.display import display_for
from grace_cli.errors import Exit
from grace_cli.stack.home import Home
from grace_cli.story import Story
from grace_common.contract.events.task import TaskSubmitted
from rich.console import Console

from .conftest import Run
from .fake_gateway import GOOD, FakeGateway, message

DOUBLE = ("submit", "Double a number", "--entry-point", "double", "--example", "2 => 4")


def test_a_request_is_sent_as_it_was_typed_in_the_requesters_name(run: Run, gateway: FakeGateway) -> None:
    outcome = run(*DOUBLE, "--example", '"a => b" => "a"', "--candidates", "3", "--deadline", "60", "--json")

    assert outcome.code == Exit.OK
    method, path, user, body = gateway.asked[0]
    assert (method, path, user) == ("POST", "/api/tasks", "ada")
    assert body == {
        "requirements": "Double a number",
        "entry_point": "double",
        "examples": [{"args": [2], "expected": 4}, {"args": ["a => b"], "expected": "a"}],
        "candidates": 3,
        "deadline_s": 60,
    }
    assert outcome.json["id"] in gateway.facts


def test_a_task_goes_from_request_to_code_by_commands_alone(run: Run, gateway: FakeGateway) -> None:
    waiting = run(*DOUBLE, "--wait")
    (task,) = gateway.facts
    assert "approach: enumerate" in waiting.out
    assert f"it waits for guidance: grace guide {task}" in waiting.out

    assert run("guide", task, "Keep it simple").code == Exit.OK
    gateway.until(task, "awaiting-approval")
    refused = run("approve", task)
    assert refused.error is not None
    assert "nobody can be asked here" in refused.error.message
    assert "def double" in refused.out
    assert run("approve", task, "--digest", "01" * 32, "--as", "grace").code == Exit.OK

    watched = run("watch", task)
    assert watched.code == Exit.OK
    assert "return 2 * n" in watched.out
    assert gateway.view(task)["guidance"][0]["guidance"] == "Keep it simple"
    assert gateway.view(task)["artifact"]["code"] == GOOD


def submitted(run: Run, gateway: FakeGateway, state: str = "awaiting-approval") -> str:
    """Submit a task and bring it into a state; return its id."""
    task: str = run(*DOUBLE, "--json").json["id"]
    gateway.until(task, "approach-proposed")
    if state != "approach-proposed":
        run("guide", task)
        gateway.until(task, state)
    return task


def test_a_task_file_is_sent_without_its_hidden_check(run: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    content = {"id": "x", "requirements": "Double it", "examples": [{"args": [1], "expected": 2}], "check": "secret"}
    (tmp_path / "task.json").write_text(json.dumps(content))
    (tmp_path / "tests.py").write_text("assert double(2) == 4\n")
    (tmp_path / "examples").write_text("# twice\n3 => 6\n\n[4] => [8]\n")
    files = ("--file", str(tmp_path / "task.json"), "--tests", str(tmp_path / "tests.py"))

    outcome = run("submit", *files, "--examples", str(tmp_path / "examples"), "--autonomous")

    assert outcome.code == Exit.OK, outcome.error
    assert gateway.asked[0][3] == {
        "requirements": "Double it",
        "examples": [{"args": [3], "expected": 6}, {"args": [[4]], "expected": [8]}],
        "tests": "assert double(2) == 4\n",
        "mode": "autonomous",
    }


def test_a_request_for_nothing_is_wrong_usage(run: Run) -> None:
    assert run("submit").code == Exit.USAGE


def test_what_the_gateway_refuses_is_said_with_what_to_do(run: Run) -> None:
    outcome = run("submit", "x", "--entry-point", "not a name")

    assert outcome.code == Exit.REFUSED
    assert outcome.error is not None
    assert "pattern" in outcome.error.message
    assert outcome.error.advice == "correct the input and try again"


def test_a_review_names_the_digest_and_a_stale_one_is_refused(run: Run, gateway: FakeGateway) -> None:
    task = submitted(run, gateway)

    stale = run("approve", task, "--digest", "ff" * 32)
    assert stale.code == Exit.REFUSED
    assert "stale" in str(stale.error)
    own = run("approve", task, "--yes", "--as", "ada")
    assert own.code == Exit.REFUSED
    assert "another person" in str(own.error)
    assert run("approve", task, "--json").code == Exit.USAGE
    assert run("approve", task, "--yes", "--json").json["digest"] == "01" * 32


def test_changes_lead_to_another_round_with_another_digest(run: Run, gateway: FakeGateway) -> None:
    task = submitted(run, gateway)

    assert "another round" in run("changes", task, "Handle zero").out
    gateway.until(task, "awaiting-approval")
    shown = run("tasks", task).out

    assert "02" * 32 in shown
    assert "round 2" in shown
    assert gateway.view(task)["change_requests"][0]["feedback"] == "Handle zero"


def test_a_rejected_task_has_failed_and_so_has_watching_it(run: Run, gateway: FakeGateway) -> None:
    task = submitted(run, gateway)

    assert run("reject", task, "Not needed", "--json").json["digest"] == "01" * 32
    watched = run("watch", task)

    assert watched.code == Exit.FAILED
    assert watched.error is not None
    assert watched.error.message == "the task failed: Not needed"
    assert "failed: Not needed" in run("tasks", task).out
    nothing = run("approve", task, "--yes")
    assert nothing.code == Exit.REFUSED
    assert "nothing is up for approval" in str(nothing.error)


def test_a_cancelled_task_is_over(run: Run, gateway: FakeGateway) -> None:
    task = submitted(run, gateway, "approach-proposed")

    assert run("cancel", task, "--reason", "changed my mind").code == Exit.OK
    again = run("guide", task, "too late", "--json")

    assert again.code == Exit.REFUSED
    assert "cancelled" in str(again.error)
    assert run("watch", task, "--json").json["state"] == "cancelled"


def test_a_task_without_candidates_says_why(run: Run, gateway: FakeGateway) -> None:
    gateway.solves = lambda requirements: None
    task = submitted(run, gateway, "failed")

    outcome = run("submit", *DOUBLE[1:], "--wait", "--json")

    assert outcome.json["waiting_for"] == "guidance"
    assert "no candidate was made" in str(run("watch", task).error)


def test_tasks_are_listed_newest_first(run: Run, gateway: FakeGateway) -> None:
    assert "there are no such tasks" in run("tasks").out
    first = submitted(run, gateway, "approach-proposed")
    second = submitted(run, gateway, "approach-proposed")

    lines = run("tasks").out.splitlines()

    assert [line.split()[0] for line in lines[1:]] == [second, first]
    assert run("tasks", "--json").json["items"][0]["waiting_for"] == "guidance"
    assert run("tasks", first, "--json").json["id"] == first
    assert run("tasks", "unknown").code == Exit.REFUSED


def test_watching_as_a_program_gives_one_fact_a_line(run: Run, gateway: FakeGateway) -> None:
    task = submitted(run, gateway)

    def approve_once_watched() -> None:
        gateway.until_subscribed()
        key = {"Authorization": "Bearer key-of-grace"}
        httpx.post(f"{gateway.url}/api/tasks/{task}/approval", json={"digest": "01" * 32}, headers=key, trust_env=False)

    reviewer = threading.Thread(target=approve_once_watched)
    reviewer.start()
    outcome = run("watch", task, "--json")
    reviewer.join()

    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["type"] for line in lines[:-1]] == [
        "grace.approval-given.v1",
        "grace.approval-recorded.v1",
        "grace.task-completed.v1",
    ]
    assert lines[-1]["state"] == "completed"


def test_a_person_at_a_terminal_sees_the_candidates_arrive(gateway: FakeGateway) -> None:
    story = Story("t", {"requirements": "Double it"})
    console = Console(force_terminal=True, width=120, file=io.StringIO())
    gateway.solves = lambda requirements: GOOD
    task_id = str(uuid4())
    gateway.state(task_id, TaskSubmitted.example(), id=UUID(task_id))
    gateway.propose(task_id)
    gateway.run_round(task_id)

    with display_for(as_json=False, console=console) as display:
        for fact in gateway.facts[task_id][1:]:
            name = story.apply(message(fact, task_id))
            assert name is not None
            display.show(story, name, message(fact, task_id))

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "return 2 * n" in shown
    assert "examples" in shown  # what candidate 2 did not pass
    assert "the consensus chose candidate 1" in shown


def at_a_terminal(home: Home, answer: str, *words: str) -> tuple[int, str]:
    """Run a command on a terminal of its own and type one answer; return its exit code and what stood there."""
    ours, theirs = pty.openpty()
    environ = dict(os.environ) | {"GRACE_HOME": str(home.root), "TERM": "xterm-256color", "COLUMNS": "140"}
    command = [sys.executable, "-m", "grace_cli.main", *words]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side of a terminal is closed
        pass
    os.close(ours)
    return process.wait(), shown.decode()


def test_a_yes_at_the_terminal_approves_and_a_no_does_nothing(run: Run, gateway: FakeGateway, home: Home) -> None:
    task = submitted(run, gateway)

    refused, shown = at_a_terminal(home, "n", "approve", task)
    assert refused == Exit.FAILED
    assert "nothing was done" in shown
    assert not [path for _, path, *_ in gateway.asked if path.endswith("/approval")]

    approved, shown = at_a_terminal(home, "y", "approve", task)
    assert approved == Exit.OK, shown
    assert [user for _, path, user, _ in gateway.asked if path.endswith("/approval")] == ["grace"]
    watched, shown = at_a_terminal(home, "", "watch", task)
    assert watched == Exit.OK
    assert "receipt: grace receipt get" in shown
