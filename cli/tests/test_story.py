"""A task's story: the same whatever the order in which its facts arrive."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from grace_cli.display import body_line, decision_lines, evidence, sentence
from grace_cli.story import Story
from grace_common.contract.events import candidate, decision, round, task
from grace_common.contract.events.base import Event
from hypothesis import given, settings
from hypothesis import strategies as st

TASK = "019ac000-0000-7000-8000-000000000001"


def fact(event: Event, **changes: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "type": event.TYPE, "data": event.model_dump(mode="json") | changes}


def life() -> list[dict[str, Any]]:
    """Every fact of a collaborative task in which all goes well, in the order in which they are stated."""
    chosen = round.ApprovalRequested.example().model_dump(mode="json")
    return [
        fact(candidate.ApproachProposed.example()),
        fact(task.GuidanceGiven.example()),
        fact(round.RoundOpened.example()),
        fact(candidate.CandidateGenerated.example()),
        fact(candidate.CandidateEvaluated.example()),
        fact(candidate.CandidatesGenerated.example()),
        fact(decision.DecisionReached.example()),
        fact(round.ApprovalRequested.example()),
        fact(task.ApprovalGiven.example()),
        fact(round.ApprovalRecorded.example(), digest=chosen["digest"]),
        fact(round.TaskCompleted.example()),
    ]


def told(facts: list[dict[str, Any]]) -> Story:
    story = Story(TASK, {"requirements": "x"})
    for one in facts:
        story.apply(one)
    return story


@settings(max_examples=200)
@given(st.permutations(life()[:-1]), st.data())
def test_the_order_of_arrival_changes_nothing(facts: list[dict[str, Any]], data: st.DataObject) -> None:
    story = told(facts + data.draw(st.lists(st.sampled_from(facts))))

    assert (story.state, story.waiting_for, story.round) == ("awaiting-approval", None, 1)
    assert len(story.candidates) == 1


def test_it_waits_for_guidance_then_for_approval_then_for_nobody() -> None:
    facts = life()

    waits = [told(facts[:count]).waiting_for for count in range(1, len(facts) + 1)]

    assert waits == ["guidance", None, None, None, None, None, None, "approval", "approval", None, None]
    assert told(facts).has_ended


def test_an_autonomous_task_waits_for_no_guidance() -> None:
    story = Story(TASK, {}, mode="autonomous")
    story.apply(life()[0])

    assert (story.state, story.waiting_for) == ("approach-proposed", None)


def test_a_new_round_after_changes_asks_again() -> None:
    again = str(uuid4())
    facts = life()[:8]
    digest = facts[-1]["data"]["digest"]
    story = told([*facts, fact(task.ChangesRequested.example(), digest=digest)])
    assert story.waiting_for is None

    story.apply(fact(round.RoundOpened.example(), round_id=again, number=2, findings=("1 => 2 failed",)))
    assert (story.state, story.round) == ("generating", 2)
    story.apply(fact(round.ApprovalRequested.example(), round_id=again, digest="cd" * 32))

    assert story.waiting_for == "approval"


def test_the_end_is_final() -> None:
    for ending in (round.TaskFailed.example(), round.TaskCancelled.example()):
        story = told([fact(ending), *life()[:-1]])
        assert story.has_ended
        assert story.artifact is None


def test_a_fact_known_already_is_no_news() -> None:
    one = life()[0]
    story = Story(TASK, {})

    assert story.apply(one) == "approach-proposed"
    assert story.apply(one) is None
    assert story.newest == one["id"]


def test_every_fact_that_a_person_cares_for_has_a_sentence() -> None:
    story = told(life())
    events: list[Event] = [
        candidate.GenerationFailed.example(),
        task.ChangesRequested.example(),
        task.ApprovalDenied.example(),
        round.RequestIgnored.example(),
        round.TaskFailed.example(),
        round.TaskCancelled.example(),
    ]
    silent = {"candidate-generated", "approval-given"}

    for one in [*life(), *map(fact, events)]:
        name = one["type"].split(".")[1]
        assert (sentence(story, name, one["data"]) is None) == (name in silent), name
    missing = round.ApprovalRecorded.example().model_dump(mode="json") | {"missing": 1}
    assert sentence(story, "approval-recorded", missing) == "grace approved; 1 more needed"


def test_an_abstention_says_so_and_why() -> None:
    said = decision.DecisionReached.example().model_dump(mode="json")
    said |= {"verdict": "abstained", "winner_id": None, "reasons": ["too little agreement"]}

    assert decision_lines(told([]), said) == [
        "the consensus abstained; confidence 0.90 (functional-agreement@1)",
        "  too little agreement",
    ]


def test_a_candidate_before_its_evaluation_is_in_the_sandbox() -> None:
    story = told(life()[:4])

    assert [evidence(one) for one in story.candidates.values()] == ["in the sandbox"]
    assert story.winner is None
    assert UUID(next(iter(story.candidates)))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ('def f(n: int) -> int:\n    """Doc\n\n    string."""\n    x = n\n    return x\n', "x = n ; return x"),
        ("import math\n\ndef f(n):\n    if n:\n        return 1\n    return 2", "if n: ; return 1 ; return 2"),
        ("def f(n):\n    def g(m):\n        return m\n\n    return g(n) + 1\n", "def g(…) ; return g(n) + 1"),
        ("not python (", "not python ("),
        ("f = len", "f = len"),
    ],
)
def test_a_candidates_body_is_shown_on_one_line(code: str, line: str) -> None:
    assert body_line(code) == line
