"""What tasks go through, in short words for the tests of their rules."""

from collections.abc import Sequence
from typing import Any

from grace_common.contract.events.base import Event
from grace_common.contract.events.round import ApprovalRequested, Policy
from grace_common.contract.events.task import ApprovalGiven, GuidanceGiven
from grace_common.testing.events import NOON, TASK, approach_proposed, round_facts, task_submitted
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.domain.round import open_round
from grace_mtl_orchestrator.domain.task import Cause, Heard, Submission, Task, replay, step

POLICIES = load(packaged())
FIRST, SECOND, THIRD = (open_round(TASK, number).round_id for number in (1, 2, 3))
ACCEPT = GuidanceGiven(task_id=TASK, by="ada")


def under(**expressions: str) -> tuple[Policy, ...]:
    """The packaged policies with some expressions replaced."""
    return tuple(
        policy.model_copy(
            update={"expressions": {name: expressions.get(name, text) for name, text in policy.expressions.items()}}
        )
        for policy in POLICIES
    )


def submission(policies: tuple[Policy, ...] = POLICIES, lessons: tuple[str, ...] = (), **changes: Any) -> Submission:
    return Submission(event=task_submitted(**changes), policies=policies, lessons=lessons)


def after(*causes: Cause) -> tuple[Task, Sequence[Event]]:
    """The task after these causes, and what the last one of them led to."""
    *before, last = causes
    task, _ = replay(Heard(cause, NOON) for cause in before)
    return step(task, last, NOON)


def facts_after(*causes: Cause) -> list[type[Event]]:
    return [type(fact) for fact in after(*causes)[1]]


def asked(*causes: Cause) -> ApprovalRequested:
    task, _ = after(*causes)
    assert task.asked is not None
    return task.asked


def to_approval(policies: tuple[Policy, ...] = POLICIES, **changes: Any) -> tuple[Cause, ...]:
    return (submission(policies, **changes), approach_proposed(), ACCEPT, *round_facts(FIRST))


def approval(by: str, digest: str, roles: tuple[str, ...] = ("reviewer",)) -> ApprovalGiven:
    return ApprovalGiven(task_id=TASK, by=by, roles=roles, digest=digest)


def only(facts: Sequence[Event], kind: type[Event]) -> Any:
    (found,) = [fact for fact in facts if isinstance(fact, kind)]
    return found
