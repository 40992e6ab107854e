"""The life of a task, one rule at a time."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from grace_common.contract.approval import approval_digest, artifact_sha256, decision_sha256, report_sha256
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import Authorship, GenerationFailed, Probe
from grace_common.contract.events.decision import Dissent
from grace_common.contract.events.round import (
    ApproachRequested,
    ApprovalRecorded,
    ApprovalRequested,
    OutcomeLearned,
    Policy,
    ProbeOutcomes,
    RequestIgnored,
    RoundOpened,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
)
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    Example,
    GuidanceGiven,
    Specification,
)
from grace_common.testing.events import (
    NOON,
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
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.domain.round import open_round
from grace_mtl_orchestrator.domain.task import Cause, DeadlinePassed, Heard, Submission, Task, replay, step

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


def test_a_submitted_task_asks_for_an_approach_with_what_memory_holds() -> None:
    task, facts = after(submission(lessons=("fibonacci: iterate",)))

    assert facts == (
        ApproachRequested(task_id=TASK, specification=task_submitted().specification, lessons=("fibonacci: iterate",)),
    )
    assert (task.phase, task.version, task.deadline) == ("submitted", 1, NOON + timedelta(days=1))


def test_a_language_the_policy_does_not_allow_fails_at_once_and_says_which_are() -> None:
    task, facts = after(submission(specification=Specification(requirements="fib", language="cobol")))

    assert facts[0] == TaskFailed(
        task_id=TASK, reason="admission@1 does not allow cobol; it allows python", state="submitted"
    )
    assert (task.phase, task.deadline) == ("failed", None)


def test_a_specification_too_large_to_pass_on_fails_at_once() -> None:
    long = Specification(
        requirements="x" * 8_000, examples=tuple(Example(args=("y" * 900,), expected=0) for _ in range(30))
    )

    _, facts = after(submission(specification=long))

    assert "the limit is 30720; split the task" in only(facts, TaskFailed).reason


def test_a_collaborative_task_waits_for_guidance() -> None:
    task, facts = after(submission(), approach_proposed())

    assert (task.phase, facts) == ("approach-proposed", ())


def test_an_autonomous_task_goes_on_at_once() -> None:
    assert facts_after(submission(mode="autonomous"), approach_proposed()) == [RoundOpened]


def test_guidance_refines_the_task_and_opens_the_first_round() -> None:
    bare = Specification(requirements="fibonacci please")
    _, facts = after(
        submission(specification=bare, lessons=("iterate",)),
        approach_proposed(approach="enumerate"),
        GuidanceGiven(task_id=TASK, by="ada", guidance="Do not recurse"),
    )

    assert facts == (
        RoundOpened(
            task_id=TASK,
            round_id=FIRST,
            number=1,
            specification=Specification(
                requirements="fibonacci please", entry_point="fibonacci", signature="def fibonacci(n: int) -> int:"
            ),
            approach="enumerate",
            guidance=("Do not recurse",),
            lessons=("iterate",),
            candidates=8,
            minimum_confidence=0.5,
        ),
    )


def test_guidance_that_overtakes_the_approach_is_kept_until_its_turn() -> None:
    guidance = GuidanceGiven(task_id=TASK, by="ada", guidance="Do not recurse")

    in_order = after(submission(), approach_proposed(), guidance)
    overtaken = after(submission(), guidance, approach_proposed())

    assert in_order == overtaken


def test_guidance_after_the_first_round_began_is_ignored_and_says_why() -> None:
    _, facts = after(submission(), approach_proposed(), ACCEPT, ACCEPT)

    assert only(facts, RequestIgnored).reason == "guidance is taken before the first round; the task is generating"


def test_what_the_requester_stated_is_not_overwritten_by_the_approach() -> None:
    task, _ = after(submission(), approach_proposed(entry_point="fib", signature="def fib(x):"))

    assert task.specification == task_submitted().specification


def test_a_round_is_told_in_its_phases() -> None:
    begun = (submission(), approach_proposed(), ACCEPT)

    assert after(*begun, candidate_generated(FIRST))[0].phase == "generating"
    assert after(*begun, candidate_evaluated(FIRST))[0].phase == "evaluating"
    assert after(*begun, candidates_generated(FIRST))[0].phase == "deciding"


def test_a_decision_asks_for_approval_of_the_exact_artifact_report_and_decision() -> None:
    decision = decision_reached(
        FIRST, reasons=("two agree",), dissent=(Dissent(members=("x",), weight=0.1, differs="f(7) gives 7"),)
    )
    _, facts = after(*to_approval()[:-1], decision)

    artifact, report = artifact_sha256(RIGHT_CODE), candidate_evaluated(FIRST).report_sha256
    requested = only(facts, ApprovalRequested)
    assert requested.artifact_sha256 == artifact
    assert requested.report_sha256 == report
    assert requested.decision_sha256 == decision_sha256(decision)
    assert requested.digest == approval_digest(artifact=artifact, report=report, decision=decision_sha256(decision))
    assert (requested.required_approvals, requested.policy) == (1, "approval@1")
    assert requested.reasons == ("two agree", "dissent of weight 0.10: f(7) gives 7")


def test_the_digest_is_sha256_over_compact_json_of_three_digests() -> None:
    # Computed with coreutils: printf '{"artifact":"aa…","decision":"cc…","report":"bb…"}' | sha256sum
    assert (
        approval_digest(artifact="aa" * 32, report="bb" * 32, decision="cc" * 32)
        == "ddd6a6a1ea870f9848da04c741fcc6eef167aacc8cb0deaa496df5d84ce0be7e"
    )


@pytest.mark.parametrize("order", [*permutations(range(6))][::7])
def test_facts_of_a_round_lead_to_the_same_question_in_any_order(order: tuple[int, ...]) -> None:
    facts = round_facts(FIRST)
    begun = (submission(), approach_proposed(), ACCEPT)

    assert after(*begun, *(facts[at] for at in order)) == after(*begun, *facts)


def test_facts_of_another_round_change_nothing() -> None:
    begun = (submission(), approach_proposed(), ACCEPT)
    before, _ = after(*begun)

    task, facts = after(*begun, decision_reached(SECOND))

    assert (task, facts) == (before.so(version=4), ())


def test_of_a_candidate_examined_twice_the_report_that_the_matrix_names_is_approved() -> None:
    report = {"passed": 3, "seconds": 0.2}
    again = candidate_evaluated(FIRST, report=report, report_sha256=report_sha256(report))
    begun = (submission(), approach_proposed(), ACCEPT)

    usual = asked(*begun, again, *round_facts(FIRST))
    assert usual.report_sha256 == candidate_evaluated(FIRST).report_sha256
    assert asked(*begun, *round_facts(FIRST)[:-2], again, *round_facts(FIRST)[-2:]) == usual


def test_a_report_lost_in_a_crash_does_not_hold_the_task_up() -> None:
    report = {"passed": 3, "seconds": 0.2}
    other = candidate_evaluated(FIRST, report=report, report_sha256=report_sha256(report))
    facts = [fact if fact != candidate_evaluated(FIRST) else other for fact in round_facts(FIRST)]

    assert asked(submission(), approach_proposed(), ACCEPT, *facts).report_sha256 == report_sha256(report)


def test_an_untrue_digest_is_refused() -> None:
    begun = (submission(), approach_proposed(), ACCEPT)

    with pytest.raises(Refused, match="not the digest of the code"):
        after(*begun, candidate_generated(FIRST, code_sha256="00" * 32))
    with pytest.raises(Refused, match="not the digest of the report"):
        after(*begun, candidate_evaluated(FIRST, report_sha256="00" * 32))


def test_a_matrix_whose_rows_do_not_fit_its_probes_is_refused() -> None:
    matrix = candidates_generated(FIRST)

    with pytest.raises(Refused, match="answers 3 probes and the matrix has 1"):
        after(submission(), approach_proposed(), ACCEPT, matrix.model_copy(update={"probes": matrix.probes[:1]}))


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


def completed_with(*facts: Cause) -> TaskCompleted:
    causes = (submission(mode="autonomous"), approach_proposed(), *facts)
    completed: TaskCompleted = only(after(*causes)[1], TaskCompleted)
    return completed


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
        passed=(
            "e0: fibonacci(0) == 0",
            "e1: fibonacci(1) == 1",
            "e2: fibonacci(10) == 55",
            "m0: assert fibonacci(0) == 0",
        ),
        warned=("m1: assert fibonacci(1) == 1",),
    )


def test_names_too_long_for_an_envelope_give_way_to_the_probes_ids() -> None:
    matrix = candidates_generated(FIRST)
    probes = tuple(probe.model_copy(update={"label": '"' * 200}) for probe in matrix.probes) * 10
    rows = tuple(row.model_copy(update={"outputs": row.outputs * 10}) for row in matrix.rows)
    judged = matrix.model_copy(update={"probes": probes, "rows": rows})

    completed = completed_with(*round_facts(FIRST)[:-2], judged, decision_reached(FIRST))

    assert completed.outcomes is not None
    assert completed.outcomes.passed == ("e0", "e1", "e2") * 10


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


def test_an_abstention_is_repaired_with_what_was_wrong() -> None:
    doubts: dict[str, Any] = {
        "verdict": "abstained",
        "winner_id": None,
        "confidence": 0.3,
        "reasons": ("too close",),
        "dissent": (Dissent(members=("x",), weight=0.4, differs="f(7) gives 7"),),
    }
    _, facts = after(submission(), approach_proposed(), ACCEPT, *round_facts(FIRST, **doubts))

    opened = only(facts, RoundOpened)
    assert opened.number == 2
    assert opened.findings == (
        "round 1: the consensus abstained (confidence 0.30): too close",
        "failed: fibonacci(10) == 55",
        "f(7) gives 7",
    )


def test_a_chosen_candidate_that_fails_a_given_example_is_repaired() -> None:
    facts = round_facts(FIRST, (WRONG_CODE, RIGHT_CODE))

    opened = only(after(submission(), approach_proposed(), ACCEPT, *facts)[1], RoundOpened)

    assert opened.findings[0].startswith("round 1: rounds@1 does not accept the chosen candidate")


def test_a_confidence_below_the_bar_is_repaired() -> None:
    opened = only(after(*to_approval()[:-1], decision_reached(FIRST, confidence=0.49))[1], RoundOpened)

    assert opened.findings[0] == "round 1: rounds@1 wants a confidence of 0.50 (confidence 0.49)"


def test_a_decision_for_a_candidate_the_round_does_not_have_is_repaired() -> None:
    opened = only(after(*to_approval()[:-1], decision_reached(FIRST, winner_id=UUID(int=7)))[1], RoundOpened)

    assert "names a candidate that the round does not have" in opened.findings[0]


def test_repairs_end_where_the_policy_says_and_the_failure_names_the_evidence() -> None:
    wrong = "def fibonacci(n: int) -> int:\n    return 1\n"
    task, facts = after(
        submission(),
        approach_proposed(),
        ACCEPT,
        *round_facts(FIRST, (WRONG_CODE,)),
        *round_facts(SECOND, (wrong,)),
    )

    failed = only(facts, TaskFailed)
    assert failed.reason == (
        "round 2: rounds@1 does not accept the chosen candidate (confidence 0.90); failed: fibonacci(10) == 55; "
        "rounds@1 allows no further round"
    )
    assert only(facts, OutcomeLearned).lesson.startswith("fibonacci(n: int) -> int: failed while deciding: round 2")
    assert task.phase == "failed"


def test_a_repair_that_brings_the_same_candidates_is_the_last() -> None:
    patient = under(max_rounds="9")

    _, facts = after(
        submission(patient),
        approach_proposed(),
        ACCEPT,
        *round_facts(FIRST, (WRONG_CODE,)),
        *round_facts(SECOND, (WRONG_CODE,)),
    )

    assert only(facts, TaskFailed).reason.endswith("another round brought the same candidates")


def test_feedback_of_a_person_starts_the_count_of_rounds_again() -> None:
    causes = (submission(), approach_proposed(), ACCEPT, *round_facts(FIRST, (WRONG_CODE,)), *round_facts(SECOND))
    changes = ChangesRequested(
        task_id=TASK, by="grace", roles=("reviewer",), digest=asked(*causes).digest, feedback="Handle n < 0"
    )

    assert facts_after(*causes, changes, *round_facts(THIRD, (WRONG_CODE,))) == [RoundOpened]


def test_a_round_without_candidates_is_repaired_once_and_then_fails() -> None:
    nothing: dict[str, Any] = {"verdict": "abstained", "winner_id": None, "confidence": 0.0, "candidates": 0}

    def empty(round_id: UUID) -> tuple[Cause, ...]:
        return candidates_generated(round_id, (), notes=("openai: no key",)), decision_reached(round_id, **nothing)

    begun = (submission(), approach_proposed(), ACCEPT, *empty(FIRST))
    assert only(after(*begun)[1], RoundOpened).findings[-1] == "openai: no key"
    assert facts_after(*begun, *empty(SECOND)) == [TaskFailed, OutcomeLearned]


def test_an_autonomous_task_completes_alone_when_policy_lets_it() -> None:
    causes = (submission(mode="autonomous"), approach_proposed(), *round_facts(FIRST))

    completed = only(after(*causes)[1], TaskCompleted)

    assert (completed.approved_by, completed.policy) == ((), "approval@1")


def test_an_autonomous_task_that_is_not_sure_enough_asks_a_person() -> None:
    causes = (submission(mode="autonomous"), approach_proposed(), *round_facts(FIRST, confidence=0.7))

    assert facts_after(*causes) == [ApprovalRequested]


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


def test_what_a_round_is_told_stays_within_an_envelope() -> None:
    causes = to_approval()
    digest = asked(*causes).digest
    changes = [ChangesRequested(task_id=TASK, by="grace", roles=("reviewer",), digest=digest, feedback="ä" * 4_000)]
    task, facts = after(submission(lessons=("l" * 9_000,)), approach_proposed(approach="a" * 40_000), ACCEPT)
    assert len(only(facts, RoundOpened).model_dump_json()) < 16_000

    opened = only(after(*causes, *changes)[1], RoundOpened)
    assert len(opened.model_dump_json().encode()) < 12_000
    assert opened.guidance[-1].startswith("äää")
    assert task.phase == "generating"
