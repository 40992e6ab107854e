"""Runs one recorded candidate on its probes, one JSON line per probe; a program of its own, started with -I -S.

Standard input is one JSON object: `source`, `entry_point`, `calls` (argument lists as Python source) and `check`
(the hidden test of the task, only ever used to measure). Limits: CPU seconds per call by an interval timer, for the
whole process by RLIMIT_CPU, and memory by RLIMIT_AS. A line that never came means that the process was ended.
"""

import ast
import json
import resource
import signal
import sys
from types import FrameType
from typing import Any

CALL_CPU_S = 0.5
CHECK_CPU_S = 3.0
PROCESS_CPU_S = 20
MEMORY_BYTES = 1 << 30


class CallTimedOut(BaseException):
    """The interval timer rang: BaseException, so that a candidate's `except Exception` does not swallow it."""


def on_timer(_signal: int, _frame: FrameType | None) -> None:
    raise CallTimedOut


def canonical(value: Any, depth: int = 0) -> str:
    """Return one text for all values that `==` calls equal: 1, 1.0 and True agree, floats to nine digits."""
    if depth > 20:
        return "deep"
    if isinstance(value, bool | int):
        return str(int(value)) if abs(value) < 10**30 else f"{value:x}"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.9g}"
    if isinstance(value, list | tuple):
        inner = ",".join(canonical(item, depth + 1) for item in value)
        return f"{type(value).__name__}[{inner}]"
    if isinstance(value, dict):
        items = sorted(f"{canonical(k, depth + 1)}:{canonical(v, depth + 1)}" for k, v in value.items())
        return "{" + ",".join(items) + "}"
    if isinstance(value, set | frozenset):
        return "set[" + ",".join(sorted(canonical(item, depth + 1) for item in value)) + "]"
    if value is None or isinstance(value, str | bytes | complex):
        return repr(value)
    return f"object:{type(value).__name__}"


def run(job: dict[str, Any], emit: Any) -> None:
    namespace: dict[str, Any] = {"__name__": "candidate"}

    def call(key: str, cpu_s: float, thunk: Any) -> None:
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            answer = {"key": key, "value": thunk()}
        except CallTimedOut:
            answer = {"key": key, "error": "timeout"}
        except BaseException as error:  # noqa: BLE001 - whatever foreign code raises is this probe's outcome
            answer = {"key": key, "error": type(error).__name__}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        emit(answer)

    def load() -> str:
        exec(compile(job["source"], "candidate", "exec"), namespace)
        return "loaded"

    call("load", CHECK_CPU_S, load)
    function: Any = namespace.get(job["entry_point"])
    for index, arguments in enumerate(job["calls"]):
        values = list(ast.literal_eval(arguments))
        call(f"call {index}", CALL_CPU_S, lambda values=values: canonical(function(*values)))

    def check() -> str:
        exec(compile(job["check"], "check", "exec"), namespace)
        namespace["check"](function)
        return "right"

    call("check", CHECK_CPU_S, check)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESS_CPU_S, PROCESS_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGPROF, on_timer)
    job = json.loads(sys.stdin.read())
    channel = sys.stdout
    sys.stdout = sys.stderr  # what the candidate prints goes to the discarded stream

    def emit(answer: dict[str, str]) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    run(job, emit)


if __name__ == "__main__":
    main()
