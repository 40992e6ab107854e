"""What a request asks for, completed from its signature, its examples and the concepts that people know."""

import pytest
from grace_code_gen.domain.approach import Concept, brief_of, describe, examined
from grace_code_gen.domain.known_concepts import KnownConcepts
from grace_code_gen.domain.specification import Example
from grace_common.contract.errors import Refused
from grace_common.contract.events.task import Specification as Requested

CODE = "import re\n\n\ndef first(a):\n    return a\n\n\ndef second(a: int, *rest: int) -> int:\n    return a\n"


class Empty:
    """A catalogue that knows nothing."""

    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        return None


def requested(requirements: str = "Do it", *examples: tuple[list[object], object], **fields: object) -> Requested:
    stated = [{"args": args, "expected": expected} for args, expected in examples]
    return Requested.model_validate({"requirements": requirements, "examples": stated, **fields})


def test_the_signature_names_the_function() -> None:
    brief = brief_of(requested("Add", ([1, 2], 3), signature="def add(a: int, b: int) -> int:"), Empty(), models=False)

    assert brief.specification.entry_point == "add"
    assert brief.specification.examples == (Example((1, 2), 3),)
    assert brief.concept is None


@pytest.mark.parametrize("header", ["def add(a, b)", "def add(a, b): ...", "  def add(a, b) -> int:\n"])
def test_a_header_may_lack_its_colon_or_end_in_dots(header: str) -> None:
    assert brief_of(requested("Add", ([1, 2], 3), signature=header), Empty(), models=False).specification.signature


def test_without_a_signature_the_examples_tell_how_many_arguments_there_are() -> None:
    one = brief_of(requested("Do", ([1], 2), entry_point="f"), Empty(), models=False)
    two = brief_of(requested("Do", ([1, 2], 3), entry_point="f"), Empty(), models=False)

    assert one.specification.signature == "def f(value):"
    assert two.specification.signature == "def f(value_1, value_2):"


def test_prose_alone_is_left_to_a_model_with_no_signature_made_up() -> None:
    assert brief_of(requested(entry_point="f"), Empty(), models=True).specification.signature is None


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (requested(), "names no function"),
        (requested(entry_point="lambda"), "'lambda' cannot name a function"),
        (requested(signature="def naïve(a):"), "'naïve' cannot name a function"),
        (requested(entry_point="f", signature="def g(a):"), "`entry_point` is 'f', but the signature defines 'g'"),
        (requested(signature="add(a, b)"), "no Python function header"),
        (requested(signature="async def add(a):"), "one `def name"),
        (requested(signature="@cache\ndef add(a):"), "one `def name"),
        (requested(signature="def f(a, b):\n    pass\nx"), "no Python function header"),
        (requested("Do", ([1], 2), ([1, 2], 3), entry_point="f"), "example 2 has 2 arguments and example 1 has 1"),
        (requested("Do", ([1, 2], 3), signature="def f(a):"), "example 1 has 2 arguments, which the signature does"),
        (requested("Do", ([], 3), signature="def f(*, key):"), "example 1 has 0 arguments, which"),
        (requested("Do", ([0] * 21, 3), entry_point="f"), "21 arguments; at most 20"),
        (requested("Do", ([1], 2), ([2], 2), ([1], 3), entry_point="f"), "examples 1 and 3 contradict each other"),
        (requested("Do", ([1], 1), ([1], True), entry_point="f"), "examples 1 and 2 contradict each other"),
        (requested("Do", ([1], 2), entry_point="f", tests="def check("), "the tests are no Python"),
        (requested("Do", ([1], 2), entry_point="f", language="cobol"), "'cobol' cannot be evaluated yet"),
        (requested(entry_point="f"), "no concept that Grace knows"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_what_is_wrong(asked: Requested, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        brief_of(asked, Empty(), models=False)


@pytest.mark.parametrize("header", ["def f(a, b=1):", "def f(a, *rest):", "def f(a, /, b=2):"])
def test_examples_may_leave_out_or_add_what_the_signature_lets_them(header: str) -> None:
    asked = requested("Do", ([1], 2), ([1, 5], 6), signature=header)

    assert len(brief_of(asked, Empty(), models=False).specification.examples) == 2


def test_a_concept_gives_its_examples_signature_and_name() -> None:
    brief = brief_of(requested("Create a function to calculate fibonacci"), KnownConcepts(), models=False)

    assert brief.concept == "fibonacci"
    assert brief.specification.signature == "def fibonacci(n: int) -> int:"
    assert Example((10,), 55) in brief.specification.examples


def test_a_request_that_names_no_concept_leads_to_none() -> None:
    assert KnownConcepts().find("Frobnicate the widgets", None) is None
    assert KnownConcepts().find("Frobnicate the widgets", "gcd") is not None


def test_a_concept_under_another_name_keeps_that_name() -> None:
    brief = brief_of(requested("The nth fibonacci number", entry_point="fib_number"), KnownConcepts(), models=False)

    assert brief.specification.signature == "def fib_number(n: int) -> int:"


def test_examples_that_are_given_outweigh_the_concept() -> None:
    brief = brief_of(requested("fibonacci, from 1", ([1], 1), ([2], 2)), KnownConcepts(), models=False)

    assert brief.concept is None
    assert brief.specification.examples == (Example((1,), 1), Example((2,), 2))
    assert brief.specification.signature == "def fibonacci(value):"


def test_a_concept_of_other_arguments_than_the_signature_takes_does_not_stand_for_the_request() -> None:
    with pytest.raises(Refused, match="no concept that Grace knows"):
        brief_of(requested("fibonacci", signature="def f(a: int, b: int) -> int:"), KnownConcepts(), models=False)


def test_beside_a_model_a_request_that_says_more_than_the_concept_is_left_to_the_model() -> None:
    plain = requested("Create a function to calculate fibonacci", entry_point="calc")
    more = requested("Return the last digit of each fibonacci number below n as a text", entry_point="calc")
    named = requested("Whatever you think best", entry_point="fibonacci")

    assert brief_of(plain, KnownConcepts(), models=True).concept == "fibonacci"
    assert brief_of(more, KnownConcepts(), models=True).specification.examples == ()
    assert brief_of(named, KnownConcepts(), models=True).concept == "fibonacci"
    assert brief_of(more, KnownConcepts(), models=False).concept == "fibonacci"


def test_what_the_approach_fills_in_reads_the_same_in_the_round() -> None:
    asked = requested("Create a function to calculate fibonacci")
    first = brief_of(asked, KnownConcepts(), models=True)
    refined = asked.model_copy(
        update={"entry_point": first.specification.entry_point, "signature": first.specification.signature}
    )

    assert brief_of(refined, KnownConcepts(), models=True) == first


def test_the_approach_tells_of_tests_lessons_and_the_number_of_examples() -> None:
    brief = brief_of(requested("Do", ([1], 2), entry_point="f", tests="assert f(2) == 4"), Empty(), models=False)

    one, more = describe(brief, ["synthesis"], ["add"]), describe(brief, ["synthesis"], ["add", "b", "c"])

    assert one.startswith("Write `def f(value)` from 1 example and your tests, with synthesis. ")
    assert one.endswith("Memory holds lessons on tasks like this: add.")
    assert more.endswith("Memory holds lessons on tasks like this: add; 2 more.")


def test_code_is_examined_as_the_last_function_it_defines_or_the_one_that_is_named() -> None:
    by_itself = examined(requested(), CODE)
    named = examined(requested("Do", ([1], 1), entry_point="first"), CODE)
    stated = examined(requested(signature="def first(a: int) -> int:"), CODE)

    assert (by_itself.entry_point, by_itself.signature) == ("second", "def second(a: int, *rest: int) -> int:")
    assert (named.entry_point, named.signature) == ("first", "def first(a):")
    assert named.examples == (Example((1,), 1),)
    assert (stated.entry_point, stated.signature) == ("first", "def first(a: int) -> int:")


def test_code_that_does_not_parse_is_examined_all_the_same_so_that_the_report_says_so() -> None:
    specification = examined(requested(), "def broken(a):\n    return (\n")

    assert (specification.entry_point, specification.signature) == ("broken", None)


def test_code_of_another_language_or_without_a_function_is_refused() -> None:
    with pytest.raises(Refused, match="these can: python"):
        examined(requested(language="rust"), "fn main() {}")
    with pytest.raises(Refused, match="defines no function"):
        examined(requested(), "x = 1")
