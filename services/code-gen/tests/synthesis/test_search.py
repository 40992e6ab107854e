"""What the synthesiser finds, and how it behaves."""

import ast
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from grace_code_gen.domain.synthesis import Example, Program, Specification, default_weights, synthesise
from grace_common.contract.errors import Refused


def ticking(step: float = 0.001) -> Callable[[], float]:
    """A clock that advances at each look: a budget in looks, the same on every machine."""
    ticks = count()
    return lambda: next(ticks) * step


def specification(signature: str, requirements: str, *examples: tuple[tuple[Any, ...], Any]) -> Specification:
    entry_point = signature.removeprefix("def ").split("(", 1)[0]
    return Specification(
        entry_point, signature, requirements, tuple(Example(args, result) for args, result in examples)
    )


def programs(spec: Specification, looks: int = 400, limit: int = 8) -> list[Program]:
    return list(synthesise(spec, default_weights(), cpu_seconds=looks / 1000, max_programs=limit, clock=ticking()))


def run(program: Program, entry_point: str, *args: Any) -> Any:
    namespace: dict[str, Any] = {}
    exec(program.source, namespace)
    return namespace[entry_point](*args)


LENGTH = specification("def strlen(text: str) -> int:", "Return the length of the text.", (("",), 0), (("abc",), 3))
POSITIVE = specification(
    "def positive(numbers):", "Return only the positive numbers.", (([-1, 2, -4, 5],), [2, 5]), (([0, 3],), [3])
)
FIBONACCI_LIKE = specification(
    "def lucas(n: int) -> int:",
    "Return the n-th number of a sequence.",
    *(((n,), value) for n, value in enumerate((2, 1, 3, 4, 7, 11, 18))),
)
FIRST_OR_NONE = specification(
    "def longest(words: List[str]) -> Optional[str]:",
    "Return the longest word. Return None if the list is empty.",
    ((["a", "bb", "c"],), "bb"),
    ((["abc", "bb"],), "abc"),
)
SIGN = specification(
    "def describe(number: int) -> str:",
    "Return 'even' if the number is even, otherwise 'odd'.",
    ((1,), "odd"), ((2,), "even"), ((7,), "odd"), ((10,), "even"), ((4,), "even"), ((9,), "odd"),
)  # fmt: skip
ALL = [LENGTH, POSITIVE, FIBONACCI_LIKE, FIRST_OR_NONE, SIGN]


@pytest.fixture(scope="module", params=ALL, ids=lambda spec: spec.entry_point)
def found(request: pytest.FixtureRequest) -> tuple[Specification, list[Program]]:
    return request.param, programs(request.param)


def test_every_program_satisfies_every_example(found: tuple[Specification, list[Program]]) -> None:
    spec, answers = found
    assert answers
    for program in answers:
        for example in spec.examples:
            result = run(program, spec.entry_point, *example.args)
            assert result == example.expected
            assert type(result) is type(example.expected)


def test_programs_are_functions_with_the_requested_signature_and_a_docstring(
    found: tuple[Specification, list[Program]],
) -> None:
    spec, answers = found
    for program in answers:
        function = next(node for node in ast.parse(program.source).body if isinstance(node, ast.FunctionDef))
        assert spec.signature in program.source
        assert ast.get_docstring(function)


def test_no_two_programs_are_the_same(found: tuple[Specification, list[Program]]) -> None:
    _, answers = found
    assert len({program.source for program in answers}) == len(answers)


def test_the_same_request_gives_the_same_programs_in_the_same_order() -> None:
    assert programs(POSITIVE) == programs(POSITIVE)


def test_the_simplest_program_comes_first() -> None:
    answers = programs(LENGTH)

    assert "return len(text)" in answers[0].source
    assert answers[0].cost == min(answer.cost for answer in answers)
    assert answers[0].size == 2


def test_a_filter_generalises_to_other_lists() -> None:
    assert run(programs(POSITIVE)[0], "positive", [-7, 0, 1, 8]) == [1, 8]


def test_a_recurrence_is_found_with_its_base_values() -> None:
    assert run(programs(FIBONACCI_LIKE)[0], "lucas", 10) == 123


def test_a_case_that_only_the_prose_states_is_met() -> None:
    best = programs(FIRST_OR_NONE)[0]

    assert run(best, "longest", []) is None
    assert run(best, "longest", ["x", "yyy", "zz"]) == "yyy"


def test_examples_are_told_apart_by_a_guard() -> None:
    best = programs(SIGN)[0]

    assert [run(best, "describe", number) for number in (0, 13, 22)] == ["even", "odd", "even"]


def test_true_is_not_taken_for_one() -> None:
    spec = specification("def one(n):", "Return one.", ((3,), 1), ((5,), 1))

    assert all(type(run(program, "one", 3)) is int for program in programs(spec, looks=50))


def test_no_more_programs_are_yielded_than_asked_for() -> None:
    assert len(programs(LENGTH, limit=2)) == 2


def test_a_spent_budget_ends_the_search_without_programs() -> None:
    spec = specification("def riddle(n: int) -> int:", "Unknown.", ((3,), 829471), ((5,), 172), ((9,), 99817))

    assert programs(spec, looks=5) == []


def test_a_request_without_examples_is_refused() -> None:
    with pytest.raises(Refused, match="at least one example"):
        programs(specification("def f(n):", "Anything."))


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("def f(n", "no Python `def` line"),
        ("x = 1", "no Python `def` line"),
        ("def g(n):", "the signature defines 'g'"),
        ("def f(n, m):", "an example has 1 arguments, the signature 2"),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(signature: str, message: str) -> None:
    spec = Specification("f", signature, "Anything.", (Example((1,), 2),))

    with pytest.raises(Refused, match=message):
        programs(spec)


def test_a_map_with_a_condition_is_found_element_by_element() -> None:
    spec = specification(
        "def mask(numbers: list[int]) -> list[int]:",
        "Replace each negative number by its absolute value and double the others.",
        (([3, -4, 0, 7, -1],), [6, 4, 0, 14, 1]),
        (([-9, 5],), [9, 10]),
    )

    assert run(programs(spec, looks=1500)[0], "mask", [-2, 8, 11]) == [2, 16, 22]


def test_a_filter_with_two_conditions_is_found() -> None:
    spec = specification(
        "def select(numbers: list[int]) -> list[int]:",
        "Return only the positive even numbers.",
        (([3, -4, 6, 7, -1, 2],), [6, 2]),
        (([8, 5, -2, -7],), [8]),
    )

    assert run(programs(spec, looks=1500)[0], "select", [-2, 4, 11, 12]) == [4, 12]


def test_a_case_stated_by_a_comparison_of_parameters_is_met() -> None:
    spec = specification(
        "def gap(low: int, high: int) -> int:",
        "Return the difference of high and low. If low is greater than high, return -1.",
        ((2, 5), 3),
        ((1, 9), 8),
    )

    assert run(programs(spec)[0], "gap", 7, 3) == -1
