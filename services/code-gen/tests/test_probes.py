"""Generated probes: like the examples, deterministic, and of the types that the signature states."""

import json
from random import Random
from typing import Any

import pytest
from grace_code_gen.domain.probes import Call, bound, example_calls, generated_calls, seed_of
from grace_code_gen.domain.specification import Example, Specification
from grace_common.contract.errors import Refused


def specified(signature: str | None, *examples: tuple[list[Any], Any]) -> Specification:
    return Specification("words", "f", "python", signature, tuple(Example(tuple(a), e) for a, e in examples))


def generated(specification: Specification) -> list[tuple[Any, ...]]:
    return [call.args for call in generated_calls(specification, Random(seed_of(specification)))]


def test_the_same_specification_asks_the_same_for_ever() -> None:
    asked = specified("def f(items: list[int], word: str):", ([[3, 1, 2], "a b"], 1))

    assert generated(asked) == generated(asked)
    assert seed_of(asked) != seed_of(specified("def f(items: list[int], word: str):"))


def test_probes_differ_from_each_other_and_from_the_examples() -> None:
    asked = generated(specified("def f(items: list[int]):", ([[3, 1, 2]], 1), ([[5]], 1)))

    assert len(asked) == 40
    assert len({json.dumps(args) for args in asked}) == 40
    assert ([3, 1, 2],) not in asked
    assert ([],) in asked


def test_numbers_stay_near_what_the_examples_show() -> None:
    asked = generated(specified("def f(n: int):", ([10], 55), ([8], 21)))

    assert max(args[0] for args in asked) <= 20
    assert sum(args[0] < 0 for args in asked) < len(asked) / 2


def test_lists_of_equal_length_stay_so() -> None:
    asked = generated(specified("def f(game, guess):", ([[1, 2, 3], [4, 5, 6]], 0), ([[1], [2]], 0)))

    assert asked
    assert all(len(game) == len(guess) for game, guess in asked)


@pytest.mark.parametrize(
    "signature",
    [
        "def f(a: Optional[int], b: 'list[str]') -> int",
        "def f(a: float | None, b: dict[str, int]):",
        "def f(a: Tuple[int, str], b: Set[int]): ...",
        "def f(a: Dict[int, List[bool]], b: Union[str, bytes]):",
        "def f(a: list, b: typing.Sequence[float]):",
        "async def f(a: tuple[int, ...], b: None):",
    ],
)
def test_types_come_from_annotations_where_there_are_no_examples(signature: str) -> None:
    assert all(len(args) == 2 for args in generated(specified(signature)))
    assert generated(specified(signature))


def test_types_come_from_the_examples_where_nothing_is_annotated() -> None:
    asked = generated(specified("def f(a, b, c):", ([{"x": 1}, 1.5, True], 0), ([{"y": 2}, 2, False], 0)))

    assert asked
    assert all(isinstance(a, dict) and isinstance(c, bool) for a, _, c in asked)


@pytest.mark.parametrize(
    ("signature", "examples"),
    [
        (None, []),
        ("def f():", []),
        ("def f(x):", []),
        ("def f(x: Any):", [([1], 1), (["a"], 1)]),
        ("def f(x: deque):", []),
    ],
)
def test_where_types_are_unknown_nothing_is_asked(signature: str | None, examples: list[Any]) -> None:
    assert generated(specified(signature, *examples)) == []


def test_arguments_are_bound_as_the_signature_means_them() -> None:
    calls = [Call("e0", ([1, 2], [[1, 2], [1, 2]], {"1": [1]}, 3, [[1]], {"x": None}))]
    signature = (
        "def f(a: tuple[int, ...], b: set, c: Dict[int, Tuple[int]], d: float, e: Optional[List], g: Dict[int, int]):"
    )

    (arguments,) = bound(calls, signature)

    assert arguments == ((1, 2), {(1, 2)}, {1: (1,)}, 3.0, [[1]], {"x": None})
    assert isinstance(arguments[3], float)
    assert bound([Call("e0", ([1], 2))], None) == [([1], 2)]


def test_examples_are_calls_with_a_known_answer() -> None:
    assert example_calls(specified(None, ([1], 2))) == [Call("e0", (1,), 2, known=True)]


@pytest.mark.parametrize("signature", ["fibonacci", "def (", "class A:", "x = 1"])
def test_a_signature_that_is_no_function_header_is_refused(signature: str) -> None:
    with pytest.raises(Refused, match="no Python function header"):
        generated(specified(signature))


def test_a_language_that_cannot_be_evaluated_is_refused_with_those_that_can() -> None:
    with pytest.raises(Refused, match="'cobol' cannot be evaluated yet; these can: python"):
        Specification("words", "f", "cobol")


def test_an_entry_point_is_an_identifier() -> None:
    with pytest.raises(Refused, match="no Python identifier"):
        Specification("words", "f()")
