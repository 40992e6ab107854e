"""From a round's facts to the question of approval: the digest binds artifact, report and decision."""

from itertools import permutations

import pytest
from grace_common.contract.approval import approval_digest, artifact_sha256, decision_sha256, report_sha256
from grace_common.contract.errors import Refused
from grace_common.contract.events.decision import Dissent
from grace_common.contract.events.round import ApprovalRequested
from grace_common.testing.events import (
    RIGHT_CODE,
    approach_proposed,
    candidate_evaluated,
    candidate_generated,
    candidates_generated,
    decision_reached,
    round_facts,
)

from .causes import ACCEPT, FIRST, SECOND, after, asked, only, submission, to_approval


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
