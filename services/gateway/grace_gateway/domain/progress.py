"""How far a submission is, from the facts known so far, in whatever order they arrived.

Facts of one task come from four topics, and the order across topics says nothing. So a state is never overwritten:
each fact has a rank (round, stage), and the highest rank known wins.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

Kind = Literal["task", "evaluation", "decision"]
WaitingFor = Literal["guidance", "approval"]

TERMINAL: Final = frozenset(("completed", "failed", "cancelled"))
SUBMITTED: Final = "submitted"
STATES: Final = (
    SUBMITTED,
    "approach-proposed",
    "generating",
    "evaluating",
    "deciding",
    "awaiting-approval",
    "completed",
    "failed",
    "cancelled",
)

_STAGES: Final[Mapping[str, tuple[int, str]]] = {
    "round-opened": (2, "generating"),
    "candidate-generated": (2, "generating"),
    "candidate-evaluated": (3, "evaluating"),
    "candidates-generated": (4, "deciding"),
    "decision-reached": (5, "deciding"),
    "approval-requested": (6, "awaiting-approval"),
}
_ENDS: Final[Mapping[str, str]] = {
    "task-completed": "completed",
    "task-failed": "failed",
    "task-cancelled": "cancelled",
    "evaluation-completed": "completed",
    "evaluation-failed": "failed",
    "options-decided": "completed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What of a fact bears on progress: its name, and its round where it has one."""

    name: str
    round_id: UUID | None = None
    number: int | None = None
    digest: str | None = None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a submission, and which person it waits for, if any."""

    state: str
    waiting_for: WaitingFor | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more happens without a person: what `Prefer: wait` waits for."""
        return self.state in TERMINAL or self.waiting_for is not None


def progress(steps: Iterable[Step]) -> Progress:
    """Return how far the submission is; facts may come in any order and more than once."""
    known = list(steps)
    ended = {_ENDS[step.name] for step in known if step.name in _ENDS}
    for state in ("completed", "cancelled", "failed"):
        if state in ended:
            return Progress(state)
    names = {step.name for step in known}
    numbers = {step.round_id: step.number for step in known if step.name == "round-opened" and step.number}
    newest = max(numbers.values(), default=0)
    rank, state, requested = (0, 0), SUBMITTED, None
    if "approach-proposed" in names:
        rank, state = (0, 1), "approach-proposed"
    for step in known:
        if step.name not in _STAGES:
            continue
        stage, stage_state = _STAGES[step.name]
        # A round whose opening has not arrived yet is newer than every round that has.
        place = (numbers.get(step.round_id) or newest + 1, stage)
        if place >= rank:
            rank, state = place, stage_state
            requested = step.digest if step.name == "approval-requested" else None
    if state == "approach-proposed":
        collaborative = any(step.mode == "collaborative" for step in known)
        return Progress(state, "guidance" if collaborative and "guidance-given" not in names else None)
    if requested is not None:
        answered = any(
            step.digest == requested and (step.name in ("changes-requested", "approval-denied") or _last_approval(step))
            for step in known
        )
        return Progress(state, None if answered else "approval")
    return Progress(state)


def _last_approval(step: Step) -> bool:
    return step.name == "approval-recorded" and step.number == 0


def step_of(name: str, data: Mapping[str, object]) -> Step:
    """Return what of a fact bears on progress; `data` is the event's fields as JSON values."""
    round_id = data.get("round_id")
    number = data.get("missing") if name == "approval-recorded" else data.get("number")
    digest, mode = data.get("digest"), data.get("mode")
    return Step(
        name=name,
        round_id=UUID(round_id) if isinstance(round_id, str) else None,
        number=number if isinstance(number, int) else None,
        digest=digest if isinstance(digest, str) else None,
        mode=mode if isinstance(mode, str) else None,
    )
