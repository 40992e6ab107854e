"""Events as they would be on a good day, for tests that change one thing about them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

from grace_common.contract.approval import artifact_sha256, report_sha256
from grace_common.contract.envelope import Context, Envelope, first
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import (
    ApproachProposed,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    Probe,
    Row,
)
from grace_common.contract.events.decision import DecisionReached
from grace_common.contract.events.task import TaskSubmitted

TASK: Final = UUID("019ac000-0000-7000-8000-000000000001")
NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
RIGHT_CODE: Final = (
    "def fibonacci(n: int) -> int:\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n"
)
WRONG_CODE: Final = "def fibonacci(n: int) -> int:\n    return n\n"


def task_submitted(**changes: object) -> TaskSubmitted:
    """Ada asks for fibonacci."""
    return TaskSubmitted.example().model_copy(update={"task_id": TASK, **changes})


def approach_proposed(**changes: object) -> ApproachProposed:
    return ApproachProposed.example().model_copy(update={"task_id": TASK, **changes})


def candidate_id(round_id: UUID, code: str) -> UUID:
    return uuid5(round_id, artifact_sha256(code))


def candidate_generated(round_id: UUID, code: str = RIGHT_CODE, **changes: object) -> CandidateGenerated:
    stated = CandidateGenerated(
        task_id=TASK,
        round_id=round_id,
        candidate_id=candidate_id(round_id, code),
        ordinal=0,
        generator="synthesis",
        code=code,
        code_sha256=artifact_sha256(code),
    )
    return stated.model_copy(update=changes)


def candidate_evaluated(round_id: UUID, code: str = RIGHT_CODE, **changes: object) -> CandidateEvaluated:
    passed = 3 if code == RIGHT_CODE else 2
    report = {"code": artifact_sha256(code), "passed": passed}
    stated = CandidateEvaluated(
        task_id=TASK,
        round_id=round_id,
        candidate_id=candidate_id(round_id, code),
        generator="synthesis",
        code_sha256=artifact_sha256(code),
        report_sha256=report_sha256(report),
        quality_score=0.9,
        passed=passed,
        failed=3 - passed,
        report=report,
    )
    return stated.model_copy(update=changes)


def candidates_generated(
    round_id: UUID, codes: Sequence[str] = (RIGHT_CODE, WRONG_CODE), **changes: object
) -> CandidatesGenerated:
    """The matrix: the right code passes all three examples, any other fails the third."""
    calls = ("fibonacci(0) == 0", "fibonacci(1) == 1", "fibonacci(10) == 55")
    stated = CandidatesGenerated(
        task_id=TASK,
        round_id=round_id,
        entry_point="fibonacci",
        probes=tuple(Probe(id=f"e{at}", kind="example", label=call, expected=0) for at, call in enumerate(calls)),
        rows=tuple(
            Row(
                candidate_id=candidate_id(round_id, code),
                generator="synthesis",
                code_sha256=artifact_sha256(code),
                quality_score=0.9,
                report_sha256=candidate_evaluated(round_id, code).report_sha256,
                cost=12.0,
                outputs=(0, 0, 0 if code == RIGHT_CODE else 1),
            )
            for code in codes
        ),
    )
    return stated.model_copy(update=changes)


def decision_reached(round_id: UUID, code: str = RIGHT_CODE, **changes: object) -> DecisionReached:
    """The consensus chose this code."""
    stated = DecisionReached(
        task_id=TASK,
        round_id=round_id,
        verdict="chosen",
        winner_id=candidate_id(round_id, code),
        confidence=0.9,
        method="functional-agreement.v1",
        candidates=2,
    )
    return stated.model_copy(update=changes)


def round_facts(
    round_id: UUID, codes: Sequence[str] = (RIGHT_CODE, WRONG_CODE), **decision: object
) -> tuple[CandidateGenerated | CandidateEvaluated | CandidatesGenerated | DecisionReached, ...]:
    """Everything that other services state about one round, in the usual order."""
    return (
        *(candidate_generated(round_id, code, ordinal=at) for at, code in enumerate(codes)),
        *(candidate_evaluated(round_id, code) for code in codes),
        candidates_generated(round_id, codes),
        decision_reached(round_id, codes[0], **decision),
    )


def enveloped(event: Event, *, id: UUID | None = None, time: datetime = NOON, actor: str = "ada") -> Envelope:
    """The event as a first fact of the gateway."""
    operation = uuid5(TASK, "operation")
    context = Context(source="/grace/gateway", operation=operation, actor=actor, correlation=event.partition_key)
    return first(event, context, id=id or uuid5(TASK, event.model_dump_json()), time=time)
