"""How a task ends otherwise: failure, cancellation, deadline; and what an ended task ignores."""

from datetime import timedelta

import pytest
from grace_common.contract.errors import Refused
from grace_common.contract.events.candidate import GenerationFailed
from grace_common.contract.events.round import OutcomeLearned, RequestIgnored, TaskCancelled, TaskFailed
from grace_common.contract.events.task import CancellationRequested
from grace_common.testing.events import NOON, TASK, approach_proposed, decision_reached, round_facts
from grace_mtl_orchestrator.domain.task import DeadlinePassed, Task, step

from .causes import ACCEPT, FIRST, after, approval, asked, facts_after, only, submission, to_approval, under


def test_generation_that_fails_ends_the_task_with_what_would_help() -> None:
    hopeless = GenerationFailed(task_id=TASK, reason="add examples, or configure a model")

    assert only(after(submission(), hopeless)[1], TaskFailed).reason == "add examples, or configure a model"
    in_round = hopeless.model_copy(update={"round_id": FIRST})
    assert facts_after(submission(), approach_proposed(), ACCEPT, in_round) == [TaskFailed, OutcomeLearned]
    assert facts_after(submission(), approach_proposed(), hopeless) == []
    assert facts_after(submission(), approach_proposed(), ACCEPT, hopeless) == []


@pytest.mark.parametrize("length", range(1, 4 + len(round_facts(FIRST))))
def test_the_requester_may_cancel_at_any_time(length: int) -> None:
    cancel = CancellationRequested(task_id=TASK, by="ada", roles=("requester",), reason="Changed my mind")

    task, facts = after(*to_approval()[:length], cancel)

    assert facts[0] == TaskCancelled(task_id=TASK, by="ada", reason="Changed my mind")
    assert (task.phase, task.outcome) == ("cancelled", "cancelled")


def test_an_operator_may_cancel_and_a_stranger_may_not() -> None:
    cancel = CancellationRequested(task_id=TASK, by="olga", roles=("operator",))

    assert facts_after(submission(), cancel) == [TaskCancelled, OutcomeLearned]
    assert facts_after(submission(), cancel.model_copy(update={"roles": ("reviewer",)})) == [RequestIgnored]


def test_a_task_that_has_ended_ignores_requests_and_says_so() -> None:
    causes = to_approval()
    digest = asked(*causes).digest
    _, facts = after(*causes, approval("grace", digest), approval("joan", digest))

    assert only(facts, RequestIgnored).reason == "the task is completed"
    assert facts_after(*causes, approval("grace", digest), decision_reached(FIRST)) == []


def test_a_deadline_fails_the_task_and_says_where_it_stood() -> None:
    task, _ = after(submission(deadline_s=60), approach_proposed())
    early, nothing = step(task, DeadlinePassed(), NOON + timedelta(seconds=59))
    late, facts = step(task, DeadlinePassed(), NOON + timedelta(seconds=60))

    assert (early.phase, nothing) == ("approach-proposed", ())
    assert only(facts, TaskFailed).reason == "the deadline of 60 s passed while the task was approach-proposed"
    assert step(late, DeadlinePassed(), NOON + timedelta(days=1))[1] == ()


def test_a_second_submission_with_the_same_id_is_ignored() -> None:
    _, facts = after(submission(), submission(requester="eve"))

    assert only(facts, RequestIgnored).by == "eve"


def test_a_request_for_a_task_that_was_never_submitted_is_refused() -> None:
    with pytest.raises(Refused, match=r"grace\.guidance-given\.v1 names a task that was never submitted"):
        step(None, ACCEPT, NOON)
    with pytest.raises(Refused, match="DeadlinePassed names"):
        step(None, DeadlinePassed(), NOON)


def test_a_policy_that_cannot_answer_fails_the_task_rather_than_letting_it_pass() -> None:
    broken = under(required_approvals="1 / (task.examples - 3)")

    task, facts = after(*to_approval(broken))

    assert only(facts, TaskFailed).reason.startswith("policy approval@1: required_approvals does not answer")
    assert task.outcome == "failed"
    assert facts_after(submission(under(allowed_languages="task.nothing"))) == [TaskFailed, OutcomeLearned]


def test_a_task_keeps_the_policies_it_began_under() -> None:
    causes = to_approval(under(required_approvals="2"))

    restored = Task.model_validate_json(after(*causes)[0].model_dump_json())

    assert restored == after(*causes)[0]
    assert restored.asked is not None
    assert restored.asked.required_approvals == 2
