"""What memory keeps of an ended task: one sentence or two that help the next task like it."""

from collections.abc import Sequence
from typing import Final

from grace_common.contract.events.decision import DecisionReached
from grace_common.contract.events.round import TaskState
from grace_common.contract.events.task import Specification

from grace_mtl_orchestrator.domain import prose
from grace_mtl_orchestrator.domain.round import Winner

_MAX_BYTES: Final = 1_000
_MAX_QUOTE_BYTES: Final = 300


def of_success(
    specification: Specification, rounds: int, winner: Winner, decision: DecisionReached, guidance: Sequence[str]
) -> str:
    """Say who solved it, how well, and what people said that led there."""
    given = winner.given_passed + winner.given_failed
    said = "".join(f"; guided by {prose.shorten(text, _MAX_QUOTE_BYTES)!r}" for text in guidance[-2:])
    return prose.shorten(
        f"{_subject(specification)}: {winner.generator} solved it in round {rounds} with confidence "
        f"{decision.confidence:.2f} and quality {winner.quality_score:.2f}, passing {winner.given_passed} of {given} "
        f"given checks{said}",
        _MAX_BYTES,
    )


def of_failure(specification: Specification, phase: TaskState, reason: str) -> str:
    """Say where it ended and why, so that the same way is not tried again."""
    return prose.shorten(f"{_subject(specification)}: failed while {phase}: {reason}", _MAX_BYTES)


def of_cancellation(specification: Specification, phase: TaskState, reason: str) -> str:
    """Say where it was given up; a cancelled task teaches little."""
    return prose.shorten(
        f"{_subject(specification)}: cancelled while {phase}{': ' if reason else ''}{reason}", _MAX_BYTES
    )


def _subject(specification: Specification) -> str:
    subject = specification.signature or specification.entry_point or specification.requirements
    return prose.shorten(subject.removeprefix("def ").rstrip(":"), _MAX_QUOTE_BYTES)
