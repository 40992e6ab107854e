"""The operators of the language, each a function on values beside the Python text that computes it."""

from typing import Final

from .list_operators import LISTS
from .number_operators import NUMBERS, TRUTH
from .productions import inner, inner_on_text
from .terms import Operator
from .text_operators import TEXT

_INNER: Final = (
    inner("is_prime", ("int",), "bool"),
    inner("prime_factors", ("int",), "list[int]"),
    inner("divisors", ("int",), "list[int]"),
    inner("fibonacci", ("int",), "int"),
    inner("digits", ("int",), "list[int]"),
    inner("signed_digits", ("int",), "list[int]"),
    inner("to_base", ("int", "int"), "str"),
    inner("depths", ("str",), "list[int]"),
    inner("is_balanced", ("str",), "bool"),
    inner("bracket_groups", ("str",), "list[str]"),
    inner("shift_letter", ("char", "int"), "char"),
    inner("sort_every", ("list[a]", "int"), "list[a]"),
    inner("rotate", ("list[a]", "int"), "list[a]"),
    inner("interleave", ("list[a]", "a"), "list[a]"),
    inner("to_roman", ("int",), "str"),
    inner("collatz", ("int",), "list[int]"),
    inner("chunks", ("list[a]", "int"), "list[list[a]]"),
    inner("windows", ("list[a]", "int"), "list[list[a]]"),
    inner("runs", ("list[a]",), "list[list[a]]"),
    inner("is_perfect_power", ("int", "int"), "bool"),
    inner("subarrays", ("list[a]",), "list[list[a]]"),
    inner("is_subsequence", ("list[a]", "list[a]"), "bool"),
)
_INNER_TEXT: Final = (
    inner_on_text("rotate_text", "rotate", ("str", "int"), "str"),
    inner_on_text("chunks_text", "chunks", ("str", "int"), "list[str]"),
    inner_on_text("windows_text", "windows", ("str", "int"), "list[str]"),
    inner_on_text("runs_text", "runs", ("str",), "list[list[char]]"),
    inner_on_text("substrings", "subarrays", ("str",), "list[str]"),
    inner_on_text("is_subsequence_text", "is_subsequence", ("str", "str"), "bool"),
)

OPERATORS: Final[tuple[Operator, ...]] = NUMBERS + TRUTH + TEXT + LISTS + _INNER + _INNER_TEXT
