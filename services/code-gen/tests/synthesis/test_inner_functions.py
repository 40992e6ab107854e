"""The text of an inner function computes what its evaluation computes."""

from typing import Any

import pytest
from grace_code_gen.domain.synthesis.inner_functions import CALLS, TEXTS

ARGUMENTS: dict[str, list[tuple[Any, ...]]] = {
    "is_prime": [(-3,), (0,), (1,), (2,), (9,), (97,), (100,)],
    "prime_factors": [(0,), (1,), (2,), (60,), (97,)],
    "divisors": [(0,), (1,), (12,), (-5,)],
    "fibonacci": [(-1,), (0,), (1,), (10,)],
    "digits": [(0,), (907,), (-12,)],
    "signed_digits": [(0,), (907,), (-12,)],
    "to_base": [(0, 2), (255, 16), (8, 3)],
    "depths": [("",), ("([a]{<)>",)],
    "is_balanced": [("",), ("()[]",), (")(",), ("(",)],
    "bracket_groups": [("",), ("() (()) x",), ("(",)],
    "shift_letter": [("a", 2), ("Z", 1), ("-", 5), ("c", -4)],
    "sort_every": [((5, 4, 3, 2, 1), 2), ((), 3)],
    "rotate": [((1, 2, 3), 1), ("abc", 4), ((), 2), ((1, 2), 0)],
    "interleave": [((1, 2, 3), 0), ((), 0)],
    "to_roman": [(0,), (4,), (1994,), (3888,)],
    "collatz": [(1,), (6,)],
    "chunks": [((1, 2, 3), 2), ("abcd", 3)],
    "windows": [((1, 2, 3), 2), ("abcd", 3), ("ab", 3)],
    "runs": [((1, 1, 2, 1),), ("aab",), ((),)],
    "is_perfect_power": [(27, 3), (-27, 3), (16, 2), (-16, 2), (26, 3)],
    "subarrays": [((1, 2, 3),), ("ab",), ((),)],
    "is_subsequence": [("ac", "abc"), ("ca", "abc"), ((), (1,))],
}


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_every_inner_function_has_text_and_evaluation() -> None:
    assert TEXTS.keys() == CALLS.keys() == ARGUMENTS.keys()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_text_and_evaluation_agree(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(TEXTS[name], namespace)
    for arguments in ARGUMENTS[name]:
        given = [list(value) if isinstance(value, tuple) else value for value in arguments]
        assert plain(namespace[name](*given)) == plain(CALLS[name](*arguments)), arguments


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("is_prime", (10**9,)),
        ("divisors", (10**6,)),
        ("fibonacci", (10**6,)),
        ("to_base", (5, 1)),
        ("sort_every", ((1,), 0)),
        ("to_roman", (-1,)),
        ("chunks", ((1,), 0)),
        ("windows", ((1,), 9)),
        ("is_perfect_power", (4, 0)),
        ("subarrays", ("x" * 100,)),
    ],
)
def test_an_evaluation_that_would_not_end_soon_is_undefined(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        CALLS[name](*arguments)
