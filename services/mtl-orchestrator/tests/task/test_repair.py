"""A round that did not convince is repaired, as often as the policy lets it."""

from typing import Any
from uuid import UUID

from grace_common.contract.events.decision import Dissent
from grace_common.contract.events.round import OutcomeLearned, RoundOpened, TaskFailed
from grace_common.contract.events.task import ChangesRequested
from grace_common.testing.events import (
    RIGHT_CODE,
    TASK,
    WRONG_CODE,
    approach_proposed,
    candidates_generated,
    decision_reached,
    round_facts,
)
from grace_mtl_orchestrator.domain.task import Cause

from .causes import ACCEPT, FIRST, SECOND, THIRD, after, asked, facts_after, only, submission, to_approval, under


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
