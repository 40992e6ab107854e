"""Probes: further inputs, by which programs that agree on the examples are told apart.

Half of them are the examples' own arguments, rearranged; the others hold values of the right type that the examples may
lack, such as other digits, signs and cases. A program that fails on a probe is not refuted: it is undefined there.
"""

from collections.abc import Sequence
from typing import Final

from .types import Type, Value, split

_FOREIGN: Final[dict[str, tuple[Value, ...]]] = {
    "int": (12, 7, 30, -25, 4, 103, 0, -11, 9, 21),
    "float": (2.5, -1.25, 10.0, 0.4, 7.75, 3.0),
    "bool": (True, False, True),
    "str": ("Hello, World of 27 tAsks", "level UP", "x", "banana bread", "A-b_c (d)", "eye. O!"),
    "any": ("abc", 5, 2.5, -3, "Q", 8),
}


def probes(inputs: Sequence[tuple[Value, ...]], types: Sequence[Type], count: int) -> list[tuple[Value, ...]]:
    """Return up to `count` argument tuples that no example has; the same for the same examples."""
    known = set(map(repr, inputs))
    made: list[tuple[Value, ...]] = []
    ranked = sorted(inputs, key=lambda arguments: -len(repr(arguments)))
    for attempt in range(count * 4):
        if attempt % 2 == 0:
            candidate = tuple(_foreign(type_, attempt // 2 + place) for place, type_ in enumerate(types))
        else:
            base, other = ranked[attempt // 2 % len(ranked)], ranked[(attempt // 2 + 1) % len(ranked)]
            candidate = tuple(_vary(a, b, attempt) for a, b in zip(base, other, strict=True))
        if repr(candidate) not in known:
            known.add(repr(candidate))
            made.append(candidate)
        if len(made) == count:
            break
    return made


def _foreign(type_: Type, turn: int) -> Value:
    """Return the turn-th foreign value of a type."""
    head, parameters = split(type_)
    if head == "list":
        return tuple(_foreign(parameters[0], turn + step) for step in (0, 1, 3, 0, 4, 7, 2)[: 7 - turn % 3])
    if head == "set":
        return frozenset(_foreign(parameters[0], turn + step) for step in range(3))
    if head == "tuple":
        return tuple(_foreign(parameter, turn + place) for place, parameter in enumerate(parameters))
    if head == "dict":
        keys = dict.fromkeys(_foreign(parameters[0], turn + step) for step in range(3))
        return tuple((key, _foreign(parameters[1], turn + place)) for place, key in enumerate(keys))
    values = _FOREIGN.get(head, (None,))
    return values[turn % len(values)]


def _vary(value: Value, other: Value, turn: int) -> Value:
    """Return an example's value rearranged, or its neighbour."""
    if isinstance(value, bool):
        return value if turn % 2 else not value
    if isinstance(value, int):
        return value + 1 + turn % 3 if value >= 0 else value - turn
    if isinstance(value, float):
        return value * 1.5 + turn / 4
    if not isinstance(value, str | tuple):
        return value
    if not value:
        return other if type(other) is type(value) else value
    cut = (turn * 2 + 1) % len(value)
    moved: Value = (*value[cut:], *value[:cut])
    moved = (*moved, moved[-cut]) if turn % 3 == 1 else moved[::-1]
    return "".join(moved) if isinstance(value, str) else moved
