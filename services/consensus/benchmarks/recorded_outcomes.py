"""Executes recorded candidates of a real model and keeps what they returned, outside the repository.

The task folder holds `dev.json` (tasks with examples and a hidden check) and `recorded.json` (a model's completions
and the tests it wrote). The check decides only what the figures call right; no decision reads it.
"""

import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("execution_child.py")
WALL_LIMIT_S = 60


@dataclass(frozen=True)
class Call:
    """One probe before it is a matrix column: arguments as source, and what somebody expects (canonical) or None."""

    kind: str
    arguments: str
    expected: str | None


@dataclass(frozen=True)
class Recorded:
    """One task with what each completion returned: `outputs[i][j]` is completion i's canonical value on call j,
    "!" followed by the error's name when it raised."""

    task_id: str
    sources: list[str]
    calls: list[Call]
    outputs: list[list[str]]
    right: list[bool]


def generated_call(text: str, entry_point: str) -> tuple[str, Any] | None:
    """Return (arguments, expected value) of a model-written assertion in literal form, else None."""
    try:
        statement = ast.parse(text).body[0]
    except (SyntaxError, ValueError, IndexError):
        return None
    if not isinstance(statement, ast.Assert):
        return None
    test: ast.expr = statement.test
    expected: ast.expr = ast.Constant(value=True)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, expected = test.operand, ast.Constant(value=False)
    elif isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        expected, test = test.comparators[0], test.left
    if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == entry_point):
        return None
    if test.keywords or not test.args:
        return None
    try:
        arguments = tuple(ast.literal_eval(argument) for argument in test.args)
        value = ast.literal_eval(expected)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return repr(arguments), value


def execute(source: str, task: Mapping[str, Any], calls: list[Call]) -> tuple[list[str], bool]:
    """Run one completion in a process of its own; what did not answer counts as a timeout."""
    job = {
        "source": source,
        "entry_point": task["entry_point"],
        "calls": [call.arguments for call in calls],
        "check": task["check"],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(CHILD)],
            input=json.dumps(job).encode(),
            capture_output=True,
            timeout=WALL_LIMIT_S,
            cwd=tempfile.gettempdir(),
            env={"PATH": os.environ.get("PATH", "")},
            check=False,
        )
        lines = done.stdout.decode(errors="replace").splitlines()
    except subprocess.TimeoutExpired as expired:
        lines = (expired.stdout or b"").decode(errors="replace").splitlines()
    answers = {answer["key"]: answer for answer in map(json.loads, lines)}
    outputs = []
    for index in range(len(calls)):
        answer = answers.get(f"call {index}", {"error": "timeout"})
        outputs.append(answer["value"] if "value" in answer else "!" + answer["error"])
    return outputs, answers.get("check", {}).get("value") == "right"


def calls_of(task: Mapping[str, Any], recording: Mapping[str, Any]) -> list[Call]:
    """Return the requester's examples, then the assertions of the model, each once."""
    sys.path.insert(0, str(CHILD.parent))
    from execution_child import canonical

    calls = [Call("example", repr(tuple(e["args"])), canonical(e["expected"])) for e in task["examples"]]
    for text in recording["tests"]:
        found = generated_call(text, task["entry_point"])
        if found is not None:
            calls.append(Call("generated-test", found[0], canonical(found[1])))
    return list(dict.fromkeys(calls))


def recorded_outcomes(tasks: Path, cache: Path) -> Iterator[Recorded]:
    """Yield every task's outcomes; a task executed before with the same data and child comes from the cache."""
    dev = json.loads((tasks / "dev.json").read_text())["tasks"]
    recordings = {r["id"]: r for r in json.loads((tasks / "recorded.json").read_text())["tasks"]}
    cache.mkdir(parents=True, exist_ok=True)
    for task in dev:
        if task["id"] not in recordings:
            continue
        recording = recordings[task["id"]]
        identity = json.dumps([task, recording], sort_keys=True) + CHILD.read_text()
        path = cache / f"{task['id']}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
        if not path.exists():
            calls = calls_of(task, recording)
            ran = {text: execute(text, task, calls) for text in dict.fromkeys(recording["completions"])}
            done = Recorded(
                task_id=task["id"],
                sources=recording["completions"],
                calls=calls,
                outputs=[ran[text][0] for text in recording["completions"]],
                right=[ran[text][1] for text in recording["completions"]],
            )
            path.write_text(json.dumps(asdict(done)))
            print(f"executed {task['id']}: {len(ran)} different completions", file=sys.stderr)
        held = json.loads(path.read_text())
        yield Recorded(**{**held, "calls": [Call(**call) for call in held["calls"]]})
