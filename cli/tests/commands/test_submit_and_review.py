"""Asking for code, following it, guiding, approving: against a gateway that plays a task's life."""

from grace_cli.errors import Exit

from .conftest import Run
from .fake_gateway import GOOD, FakeGateway

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
