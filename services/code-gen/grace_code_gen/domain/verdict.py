"""What a candidate answered in the sandbox, and the verdict on it. The verdict is reached out here, never in there."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from grace_code_gen.domain import values

Verdict = Literal["passed", "failed", "error", "timeout", "memory", "observed"]
MAX_SHOWN: Final = 200
NOT_RUN: Final = "not run"  # how the note of a call begins that was never put, for the candidate's budget was spent


@dataclass(frozen=True, slots=True)
class Answer:
    """One call's outcome.

    status  "answered" (with a value), "raised", "timeout", "died", "flooded" (answered too much), "overspent" (not run:
            the CPU budget was spent), "abandoned" (not run: its process had ended too often)
    value   tagged, see `domain.values`
    line    of the candidate's code, where it raised
    """

    status: str
    value: Any = None
    note: str = ""
    line: int | None = None
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a suite that was reached: `verdict` passed, failed, error, timeout or memory."""

    number: int
    verdict: str
    note: str


@dataclass(frozen=True, slots=True)
class Run:
    """All that one candidate did.

    answers    one per call, in order          suites  steps reached, per suite; a loop may reach one step often
    unreached  per suite, why it ended early   peak_kib  above an idle interpreter's, over all its processes
    """

    answers: tuple[Answer, ...]
    suites: tuple[tuple[Step, ...], ...]
    unreached: tuple[str, ...]
    peak_kib: int
    cpu_ms: float


def verdict_of(answer: Answer, expected: Any, known: bool) -> Verdict:
    """Return the verdict on one call; "observed" when nobody knows what is right."""
    match answer.status:
        case "answered":
            if not known:
                return "observed"
            return "passed" if values.meets(answer.value, expected) else "failed"
        case "raised":
            return "memory" if answer.note.startswith("MemoryError:") else "error"
        case "timeout" | "overspent":
            return "timeout"
        case _:
            return "error"


def step_verdict(steps: tuple[Step, ...], number: int) -> tuple[Verdict, str] | None:
    """Return the worst verdict of all times a step was reached, with its note; None when it never was."""
    worst: tuple[Verdict, str] | None = None
    for step in steps:
        if step.number != number:
            continue
        match step.verdict:
            case "passed":
                verdict: Verdict = "passed"
            case "failed":
                verdict = "failed"
            case "timeout":
                verdict = "timeout"
            case "memory":
                verdict = "memory"
            case _:
                verdict = "error"
        if worst is None or (worst[0] == "passed" and verdict != "passed"):
            worst = (verdict, step.note)
    return worst


def shown(answer: Answer) -> str:
    """Return what a person reads about the answer: printable ASCII, at most MAX_SHOWN characters."""
    if answer.status == "answered":
        return values.shown(answer.value, MAX_SHOWN)
    where = f" (line {answer.line})" if isinstance(answer.line, int) else ""
    return (ascii(answer.note)[1:-1] + where)[:MAX_SHOWN]
