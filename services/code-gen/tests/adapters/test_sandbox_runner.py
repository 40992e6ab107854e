"""The runner's parts with harmless code, outside the sandbox: what they say to whom."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grace_code_gen.adapters.sandbox_runner import Limits, Supervisor, serve_candidate, serve_tester
from grace_code_gen.domain import values
from grace_code_gen.domain.requester_tests import STEP, suite

LIMITS = Limits(
    call_cpu_s=0.3,
    total_cpu_s=0.5,
    probe_cpu_s=0.1,
    probes_cpu_s=0.1,
    wall_s=20.0,
    memory_bytes=8 * 1024**3,
    respawns=2,
)


def call(*args: Any) -> bytes:
    return json.dumps(values.encode((list(args), {}))).encode()


def candidate_says(code: str, *calls: bytes) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    serve_candidate(code, "f", iter(calls), said.append)
    return said


def said_by_tester(tests: str, *replies: dict[str, Any]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    serve_tester(suite(tests).source, "f", STEP, (json.dumps(reply).encode() for reply in replies), said.append)
    return said


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[Supervisor, list[tuple[dict[str, Any], bytes]]]]:
    said: list[tuple[dict[str, Any], bytes]] = []
    tests = os.memfd_create("suites")
    os.write(tests, json.dumps([suite("assert f(1) == 2\nassert f(-1) == 0").source]).encode())
    supervisor = Supervisor(
        LIMITS, lambda line, payload: said.append((line, payload)), lambda folder: None, tests, str(tmp_path), STEP
    )
    supervisor.measure_base()
    yield supervisor, said
    os.close(tests)


def test_a_candidate_says_that_it_is_ready_and_then_answers_each_call() -> None:
    assert candidate_says("def f(x):\n    x.append(2)\n    return len(x)\n", call([1])) == [
        {"ready": True},
        {"value": 2, "args": ["l", ["l", 1, 2]]},
    ]


def test_code_that_does_not_load_says_why_and_answers_nothing() -> None:
    assert candidate_says("x = 1\nraise ValueError('no')\n", call(1)) == [
        {"error": "ValueError", "message": "no", "line": 2}
    ]


def test_an_exception_that_hides_its_message_is_still_an_answer() -> None:
    code = "class Mute(Exception):\n    def __str__(self):\n        raise self\ndef f():\n    raise Mute\n"

    assert candidate_says(code, call())[1] == {"error": "Mute", "message": "", "line": 5}


def test_an_answer_beyond_the_limit_is_an_error() -> None:
    assert candidate_says("def f():\n    return 'x' * 70_000\n", call())[1]["error"] == "Unencodable"


def test_a_tester_passes_calls_on_and_judges_the_replies() -> None:
    said = said_by_tester("assert f(1) == 2, 'two'\n", {"value": 3, "args": ["l", 1]})

    assert said == [
        {"call": ["t", ["l", 1], ["d"]]},
        {"step": 0, "verdict": "failed", "note": "two"},
        {"ended": None},
    ]


@pytest.mark.parametrize(
    ("reply", "verdict", "note"),
    [
        ({"stopped": "timeout", "message": "slow"}, "timeout", "slow"),
        ({"error": "MemoryError", "message": "", "line": 1}, "memory", "MemoryError"),
        ({"error": "ValueError", "message": "bad", "line": 1}, "error", "ValueError: bad"),
        (
            {"error": "UnicodeDecodeError", "message": "bad", "line": 1},
            "error",
            "RuntimeError: UnicodeDecodeError: bad",
        ),
        ({"error": "Own", "message": "bad", "line": 1}, "error", "RuntimeError: Own: bad"),
        (
            {"value": ["o", "Own", "<Own>"], "args": ["l"]},
            "error",
            "ValueError: a value of type Own cannot be handed over",
        ),
    ],
)
def test_what_befalls_a_call_becomes_the_verdict_of_its_step(reply: dict[str, Any], verdict: str, note: str) -> None:
    assert said_by_tester("assert f() == 1\n", reply)[1] == {"step": 0, "verdict": verdict, "note": note}


def test_the_callers_dicts_and_sets_change_as_the_candidates_did() -> None:
    tests = "d, s = {}, set()\nf(d, s)\nassert (d, s) == ({1: 2}, {3})\n"

    said = said_by_tester(tests, {"value": None, "args": ["l", ["d", [1, 2]], ["s", 3]]})

    assert said[1]["verdict"] == "passed"


def test_tests_that_break_say_so_at_their_end() -> None:
    assert said_by_tester("1 / 0\nassert f() == 1\n") == [
        {"ended": {"verdict": "error", "note": "ZeroDivisionError: division by zero"}}
    ]


def test_a_job_ends_with_calls_steps_and_totals(
    supervised: tuple[Supervisor, list[tuple[dict[str, Any], bytes]]],
) -> None:
    supervisor, said = supervised

    supervisor.run(
        {
            "code": "def f(x):\n    return x + 1\n",
            "entry_point": "f",
            "calls": [["t", ["l", 4], ["d"]]],
            "suites": 1,
            "given_calls": 9,
            "given_suites": 1,
        }
    )

    assert [line.get("status") or line.get("verdict") for line, _ in said] == [
        "answered",
        "passed",
        "passed",
        None,
        None,
    ]
    assert json.loads(said[0][1])["value"] == 5
    assert said[-1][0]["done"] is True


def test_processes_that_loop_or_die_are_replaced_until_the_budget_is_spent(
    supervised: tuple[Supervisor, list[tuple[dict[str, Any], bytes]]],
) -> None:
    supervisor, said = supervised
    loops = "def f(x):\n    while x != 1:\n        pass\n    return 2\n"
    dies = "import os\ndef f(x):\n    os._exit(3)\n"
    floods = "import os\ndef f(x):\n    os.write(201, b'x' * 70_000)\n"
    calls = [["t", ["l", 0], ["d"]]] * 5

    statuses = []
    for code in (loops, dies, floods):
        said.clear()
        supervisor.run(
            {"code": code, "entry_point": "f", "calls": calls, "suites": 1, "given_calls": 9, "given_suites": 1}
        )
        statuses.append([line["status"] for line, _ in said if "call" in line])

    assert statuses == [
        ["timeout", "timeout", "overspent", "overspent", "overspent"],
        ["died", "died", "died", "abandoned", "abandoned"],
        ["flooded", "flooded", "flooded", "abandoned", "abandoned"],
    ]


def test_generated_calls_have_a_budget_apart_from_the_requesters(
    supervised: tuple[Supervisor, list[tuple[dict[str, Any], bytes]]],
) -> None:
    supervisor, said = supervised
    code = "def f(x):\n    while x == 0:\n        pass\n    return x + 1\n"
    calls = [["t", ["l", 1], ["d"]], ["t", ["l", 0], ["d"]], ["t", ["l", 1], ["d"]]]

    supervisor.run({"code": code, "entry_point": "f", "calls": calls, "suites": 1, "given_calls": 1, "given_suites": 1})

    assert [line["status"] for line, _ in said if "call" in line] == ["answered", "timeout", "overspent"]
    assert [line["verdict"] for line, _ in said if "step" in line] == ["passed", "passed"]
