"""How far a submission is, from facts in any order."""

from itertools import permutations
from uuid import UUID

import pytest
from grace_gateway.domain.progress import Progress, Step, progress
from hypothesis import given
from hypothesis import strategies as st

ONE, TWO = UUID(int=1), UUID(int=2)
DIGEST, LATER = "a" * 64, "b" * 64

SUBMITTED = Step("task-submitted", mode="collaborative")
LIFE = (
    SUBMITTED,
    Step("approach-proposed"),
    Step("guidance-given"),
    Step("round-opened", ONE, 1),
    Step("candidate-generated", ONE),
    Step("candidate-evaluated", ONE),
    Step("candidates-generated", ONE),
    Step("decision-reached", ONE),
    Step("approval-requested", ONE, digest=DIGEST),
)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (1, Progress("submitted")),
        (2, Progress("approach-proposed", "guidance")),
        (3, Progress("approach-proposed")),
        (4, Progress("generating")),
        (5, Progress("generating")),
        (6, Progress("evaluating")),
        (7, Progress("deciding")),
        (8, Progress("deciding")),
        (9, Progress("awaiting-approval", "approval")),
    ],
)
def test_each_fact_of_a_round_brings_the_task_further(known: int, expected: Progress) -> None:
    assert progress(LIFE[:known]) == expected


@given(st.permutations(LIFE))
def test_the_order_in_which_facts_arrive_does_not_matter(shuffled: list[Step]) -> None:
    assert progress(shuffled) == Progress("awaiting-approval", "approval")


def test_an_autonomous_task_waits_for_no_guidance() -> None:
    steps = [Step("task-submitted", mode="autonomous"), Step("approach-proposed")]

    assert progress(steps) == Progress("approach-proposed")


def test_a_candidate_of_a_round_whose_opening_has_not_arrived_counts_as_the_newest_round() -> None:
    assert progress([*LIFE, Step("candidate-generated", TWO)]).state == "generating"


def test_requested_changes_end_the_wait_for_approval_and_the_next_round_goes_on() -> None:
    changed = [*LIFE, Step("changes-requested", digest=DIGEST)]
    again = [*changed, Step("round-opened", TWO, 2)]

    assert progress(changed) == Progress("awaiting-approval")
    assert progress(again) == Progress("generating")
    assert progress([*again, Step("approval-requested", TWO, digest=LATER)]).waiting_for == "approval"


def test_an_approval_is_waited_for_until_none_is_missing() -> None:
    first = [*LIFE, Step("approval-recorded", number=1, digest=DIGEST)]

    assert progress(first).waiting_for == "approval"
    assert progress([*first, Step("approval-recorded", number=0, digest=DIGEST)]).waiting_for is None


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("task-completed", "completed"),
        ("task-failed", "failed"),
        ("task-cancelled", "cancelled"),
        ("evaluation-completed", "completed"),
        ("evaluation-failed", "failed"),
        ("options-decided", "completed"),
    ],
)
def test_an_end_is_final_whatever_arrives_later(end: str, state: str) -> None:
    assert all(progress(order) == Progress(state) for order in permutations([SUBMITTED, Step(end), LIFE[4]]))
    assert Progress(state).settled
