"""From a submitted task to its first round: the approach, and the guidance it gets."""

from datetime import timedelta

from grace_common.contract.events.round import ApproachRequested, RequestIgnored, RoundOpened, TaskFailed
from grace_common.contract.events.task import Example, GuidanceGiven, Specification
from grace_common.testing.events import (
    NOON,
    TASK,
    approach_proposed,
    candidate_evaluated,
    candidate_generated,
    candidates_generated,
    task_submitted,
)

from .causes import ACCEPT, FIRST, after, facts_after, only, submission


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
