"""Probes: further inputs made from the examples' own, by which programs that agree on the examples are told apart."""

from collections.abc import Sequence

from .types import Value


def probes(inputs: Sequence[tuple[Value, ...]], count: int) -> list[tuple[Value, ...]]:
    """Return up to `count` argument tuples that no example has; the same for the same inputs."""
    known = set(map(repr, inputs))
    made: list[tuple[Value, ...]] = []
    ranked = sorted(inputs, key=lambda arguments: -len(repr(arguments)))
    for attempt in range(count * 4):
        base = ranked[attempt % len(ranked)]
        other = ranked[(attempt + 1) % len(ranked)]
        candidate = tuple(_vary(a, b, attempt + 1) for a, b in zip(base, other, strict=True))
        if repr(candidate) not in known:
            known.add(repr(candidate))
            made.append(candidate)
        if len(made) == count:
            break
    return made


def _vary(value: Value, other: Value, turn: int) -> Value:
    if isinstance(value, bool):
        return value if turn % 2 else not value
    if isinstance(value, int):
        return abs(value) + 1 + turn % 3 if value >= 0 else value - turn
    if isinstance(value, float):
        return value * 1.5 + turn / 4
    if isinstance(value, str | tuple):
        if not value:
            return other if type(other) is type(value) else value
        cut = (turn * 2 + 1) % len(value)
        moved = value[cut:] + value[:cut]
        if turn % 3 == 0 and len(value) > 3:
            return moved[:-1]
        return moved + value[:1] if turn % 3 == 1 else moved[::-1]
    return value
