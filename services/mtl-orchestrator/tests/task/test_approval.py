"""Who may approve what: four eyes, exact digests, change requests, denials, and what is delivered."""

import pytest
from grace_common.contract.approval import report_sha256
from grace_common.contract.events.candidate import Authorship, Probe
from grace_common.contract.events.round import (
    ApprovalRecorded,
    ApprovalRequested,
    OutcomeLearned,
    ProbeOutcomes,
    RequestIgnored,
    RoundOpened,
    TaskCompleted,
    TaskFailed,
)
from grace_common.contract.events.task import ApprovalDenied, ChangesRequested
from grace_common.testing.events import (
    RIGHT_CODE,
    TASK,
    WRONG_CODE,
    approach_proposed,
    candidate_evaluated,
    candidate_generated,
    candidates_generated,
    decision_reached,
    round_facts,
    task_submitted,
)
from grace_mtl_orchestrator.domain.task import Cause

from .causes import FIRST, SECOND, after, approval, asked, facts_after, only, submission, to_approval, under


def completed_with(*facts: Cause) -> TaskCompleted:
    causes = (submission(mode="autonomous"), approach_proposed(), *facts)
    completed: TaskCompleted = only(after(*causes)[1], TaskCompleted)
    return completed


def test_a_second_person_completes_the_task() -> None:
    causes = to_approval()
    question = asked(*causes)

    task, facts = after(*causes, approval("grace", question.digest))

    recorded, completed, learned = facts
    assert recorded == ApprovalRecorded(
        task_id=TASK,
        by="grace",
        digest=question.digest,
        missing=0,
        role="reviewer",
        policy="approval@1",
        entry_point="fibonacci",
        artifact_sha256=question.artifact_sha256,
        report_sha256=question.report_sha256,
        decision_sha256=question.decision_sha256,
    )
    assert isinstance(completed, TaskCompleted)
    assert (completed.code, completed.approved_by, completed.requester) == (RIGHT_CODE, ("grace",), "ada")
    assert isinstance(learned, OutcomeLearned)
    assert learned.lesson == (
        "fibonacci(n: int) -> int: synthesis solved it in round 1 with confidence 0.90 and quality 0.90, "
        "passing 3 of 3 given checks"
    )
    assert (task.phase, task.outcome, task.deadline) == ("learned", "completed", None)


def test_a_delivery_says_how_the_candidate_did_by_name_and_who_wrote_it() -> None:
    codes, authorship = (RIGHT_CODE, WRONG_CODE), Authorship.example()
    matrix = candidates_generated(FIRST)
    asserted = tuple(
        Probe(id=f"m{at}", kind="generated-test", label=f"assert fibonacci({at}) == {at}") for at in range(2)
    )
    unknown = Probe(id="g0", kind="generated", label="fibonacci(7)")
    probes = (*asserted, *matrix.probes, unknown)
    rows = tuple(row.model_copy(update={"outputs": (0, 1, *row.outputs, 3)}) for row in matrix.rows)
    judged = matrix.model_copy(update={"probes": probes, "rows": rows})
    written = [candidate_generated(FIRST, code, authorship=authorship) for code in codes]
    evaluated = [candidate_evaluated(FIRST, code) for code in codes]

    completed = completed_with(*written, *evaluated, judged, decision_reached(FIRST))

    assert completed.authorship == authorship
    assert completed.outcomes == ProbeOutcomes(
        specification_sha256=report_sha256(task_submitted().specification.model_dump(mode="json")),
        passed=("e0", "e1", "e2", "m0"),  # what they ask is the requester's content, and stays out of the ledger
        warned=("m1",),
    )


def test_as_many_different_reviewers_must_approve_as_the_policy_says() -> None:
    causes = to_approval(under(required_approvals="2"))
    digest = asked(*causes).digest
    grace, joan = approval("grace", digest), approval("joan", digest)

    assert facts_after(*causes, grace) == [ApprovalRecorded]
    assert after(*causes, grace, grace)[1][0] == RequestIgnored(
        task_id=TASK,
        request_type="grace.approval-given.v1",
        by="grace",
        reason="this reviewer's approval is counted already",
    )
    assert facts_after(*causes, grace, joan) == [ApprovalRecorded, TaskCompleted, OutcomeLearned]


def test_no_policy_can_deliver_a_collaborative_task_without_a_second_person() -> None:
    lax = under(required_approvals="0", may_complete_without_approval="true")

    assert asked(*to_approval(lax)).required_approvals == 1


@pytest.mark.parametrize(
    ("by", "roles", "digest", "reason"),
    [
        ("ada", ("reviewer",), None, "the requester's own approval never counts"),
        ("grace", ("requester",), None, "only a reviewer may review"),
        ("grace", ("reviewer",), "00" * 32, "the digest is stale"),
    ],
)
def test_an_approval_that_does_not_count_is_ignored_and_says_why(
    by: str, roles: tuple[str, ...], digest: str | None, reason: str
) -> None:
    causes = to_approval()

    task, facts = after(*causes, approval(by, digest or asked(*causes).digest, roles))

    assert only(facts, RequestIgnored).reason.startswith(reason)
    assert (task.phase, task.approved_by) == ("awaiting-approval", ())


def test_an_approval_before_it_is_asked_for_is_ignored() -> None:
    _, facts = after(submission(), approval("grace", "00" * 32))

    assert only(facts, RequestIgnored).reason == "no approval is asked for; the task is submitted"


def test_change_requests_open_a_new_round_with_the_feedback_and_void_the_approvals() -> None:
    causes = to_approval(under(required_approvals="2"))
    digest = asked(*causes).digest
    changes = ChangesRequested(task_id=TASK, by="joan", roles=("reviewer",), digest=digest, feedback="Handle n < 0")

    task, facts = after(*causes, approval("grace", digest), changes)

    opened = only(facts, RoundOpened)
    assert (opened.number, opened.round_id, opened.guidance) == (2, SECOND, ("Handle n < 0",))
    assert (task.approved_by, task.asked, task.phase) == ((), None, "generating")


def test_an_approval_of_the_round_before_is_stale() -> None:
    causes = to_approval()
    digest = asked(*causes).digest
    changes = ChangesRequested(task_id=TASK, by="joan", roles=("reviewer",), digest=digest, feedback="Handle n < 0")
    again = (*causes, changes, *round_facts(SECOND))

    ignored = only(after(*again, approval("grace", digest))[1], RequestIgnored)

    assert ignored.reason == f"the digest is stale; what is to be approved is {asked(*again).digest}"


def test_a_denial_ends_the_task_with_its_reason() -> None:
    causes = to_approval()
    denial = ApprovalDenied(
        task_id=TASK, by="grace", roles=("reviewer",), digest=asked(*causes).digest, reason="Not needed"
    )

    task, facts = after(*causes, denial)

    assert facts[0] == TaskFailed(
        task_id=TASK, reason="grace rejected the result: Not needed", state="awaiting-approval"
    )
    assert task.outcome == "failed"


def test_an_autonomous_task_completes_alone_when_policy_lets_it() -> None:
    causes = (submission(mode="autonomous"), approach_proposed(), *round_facts(FIRST))

    completed = only(after(*causes)[1], TaskCompleted)

    assert (completed.approved_by, completed.policy) == ((), "approval@1")


def test_an_autonomous_task_that_is_not_sure_enough_asks_a_person() -> None:
    causes = (submission(mode="autonomous"), approach_proposed(), *round_facts(FIRST, confidence=0.7))

    assert facts_after(*causes) == [ApprovalRequested]
