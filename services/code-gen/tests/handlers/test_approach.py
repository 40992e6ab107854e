"""What code-gen proposes when it is asked for an approach."""

from grace_code_gen.handlers import propose
from grace_common.contract.events.candidate import ApproachProposed, GenerationFailed
from grace_common.contract.events.round import ApproachRequested
from grace_common.contract.events.task import Specification as Requested
from grace_common.testing.events import TASK

from .fakes import DOUBLE, PROSE, RIGHT, Writes, held, opened, ports


async def test_an_approach_names_the_function_what_it_goes_by_and_who_writes() -> None:
    event = ApproachRequested(task_id=TASK, specification=DOUBLE, lessons=("double: add it to itself",))

    (proposed,) = await propose(event, ports(Writes("synthesis"), Writes("openai:qwen", prose=True)))

    assert isinstance(proposed, ApproachProposed)
    assert (proposed.entry_point, proposed.signature) == ("double", "def double(n: int) -> int:")
    assert proposed.generators == ("synthesis", "openai:qwen")
    assert "`def double(n: int) -> int` from 2 examples, with synthesis, openai:qwen" in proposed.approach
    assert "double: add it to itself" in proposed.approach


async def test_a_known_concept_needs_no_examples_and_the_approach_says_whose_are_used() -> None:
    asked = Requested(requirements="Create a function that returns the square")

    (proposed,) = await propose(ApproachRequested(task_id=TASK, specification=asked), ports(Writes("synthesis")))

    assert (proposed.entry_point, proposed.signature) == ("square", "def square(n: int) -> int:")
    assert "known concept “square”" in proposed.approach
    assert "square(2) == 4" in proposed.approach


async def test_prose_alone_suffices_when_a_model_is_there() -> None:
    event = ApproachRequested(task_id=TASK, specification=PROSE)

    (proposed,) = await propose(event, ports(Writes("synthesis"), Writes("openai:qwen", prose=True)))

    assert proposed.generators == ("openai:qwen",)
    assert "from the text alone" in proposed.approach


async def test_without_examples_concept_or_model_the_answer_says_how_to_add_one() -> None:
    event = ApproachRequested(task_id=TASK, specification=PROSE)

    (failed,) = await propose(event, ports(Writes("synthesis")))

    assert isinstance(failed, GenerationFailed)
    assert failed.round_id is None
    for named in ("'frobnicate'", '"examples": [{"args"', "GRACE_OPENAI_BASE_URL", "GRACE_ANTHROPIC_API_KEY"):
        assert named in failed.reason


async def test_a_task_that_no_generator_suits_fails_with_what_to_add() -> None:
    (failed,) = await propose(ApproachRequested(task_id=TASK, specification=DOUBLE), ports())

    assert "no generator has anything to go by for 'double'" in failed.reason


async def test_a_language_that_cannot_be_evaluated_fails_with_those_that_can() -> None:
    asked = DOUBLE.model_copy(update={"language": "haskell"})

    (proposed,) = await propose(ApproachRequested(task_id=TASK, specification=asked), ports(Writes("synthesis")))
    opened_all_the_same, _ = await held(opened(asked), ports(Writes("synthesis", [RIGHT])))

    for failed in (proposed, opened_all_the_same):
        assert isinstance(failed, GenerationFailed)
        assert "'haskell' cannot be evaluated yet; these can: python" in failed.reason
