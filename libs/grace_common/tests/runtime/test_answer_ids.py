"""Work that is done again, after a crash say, states facts under ids that still tell them apart."""

from uuid import UUID

from grace_common.contract.events.base import Event
from grace_common.contract.events.round import RequestIgnored
from grace_common.runtime.operation import Operation
from grace_common.testing.events import (
    NOON,
    RIGHT_CODE,
    TASK,
    WRONG_CODE,
    candidate_evaluated,
    candidate_generated,
)


def ids(*events: Event) -> list[UUID]:
    """The ids of facts that one handling of one cause states."""
    operation = Operation(
        id=UUID(int=1),
        name="code-gen.run_round",
        service="code-gen",
        actor="ada",
        subject=str(TASK),
        correlation=str(TASK),
        why="grace.round-opened.v1",
        started_at=NOON,
        cause=UUID(int=2),
    )
    return [operation.envelope(event, NOON).id for event in events]


def test_candidates_keep_their_ids_when_they_come_in_another_order() -> None:
    right, wrong = candidate_generated(TASK, RIGHT_CODE), candidate_generated(TASK, WRONG_CODE)

    assert ids(right, wrong) == ids(wrong, right)[::-1]


def test_a_candidate_examined_again_is_another_fact() -> None:
    first = candidate_evaluated(TASK)
    again = first.model_copy(update={"report_sha256": "01" * 32})

    assert len(set(ids(first, first, again))) == 2


def test_other_answers_are_told_apart_by_their_order() -> None:
    ignored = RequestIgnored.example()

    assert len(set(ids(ignored, ignored))) == 2
    assert ids(ignored) == ids(ignored)
