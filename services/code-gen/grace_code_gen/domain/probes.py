"""Questions that nobody wrote: arguments like the examples' but not the same, to see where candidates part.

Nobody knows the right answers. Where candidates agree, that speaks for them; where they differ, the consensus judges.
Pure: the chance comes in as a `Random` that the caller seeds with the specification's digest: a replay asks the same.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from grace_code_gen.domain.shape import ANY, Shape, bind, parameters
from grace_code_gen.domain.specification import JSON, Specification

GENERATED: Final = 40
ATTEMPTS: Final = 12  # per probe wanted, before giving up on finding another one
MAX_LENGTH: Final = 12  # elements or characters of a fresh value
SMALL: Final = (0, 1, 2, 3, 4, 5, 7, 8, 10, 12)
LETTERS: Final = "abcdeixyzABZ"
DEEPEST: Final = 3  # levels of containers that have elements: each further one would multiply their number
DEEPEST_TUPLE: Final = 30  # the sandbox takes values of 40 levels
UNWRITABLE: Final = 10**4300  # Python writes no integer of more digits


@dataclass(frozen=True, slots=True)
class Call:
    """One call to put to every candidate; `known` says whether anybody knows what it must return."""

    id: str
    args: tuple[JSON, ...]
    expected: JSON = None
    known: bool = False


def seed_of(specification: Specification) -> int:
    """Return the seed that every replay of this specification uses."""
    examples = [[list(example.args), example.expected] for example in specification.examples]
    text = json.dumps([specification.entry_point, specification.signature, examples], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def example_calls(specification: Specification) -> list[Call]:
    """Return the requester's examples as calls with a known answer."""
    return [
        Call(f"e{number}", example.args, example.expected, known=True)
        for number, example in enumerate(specification.examples)
    ]


def generated_calls(specification: Specification, chance: Random, count: int = GENERATED) -> list[Call]:
    """Return up to `count` different calls that are not among the examples; [] where types are wholly unknown."""
    shapes = _shapes(specification)
    if shapes is None:
        return []
    given = [list(example.args) for example in specification.examples if len(example.args) == len(shapes)]
    sources = [_Source(shape, [args[index] for args in given], chance) for index, shape in enumerate(shapes)]
    even = _even_lengths(given, len(shapes))
    seen = {json.dumps(args) for args in given}
    calls: list[Call] = []
    for attempt in range(count * ATTEMPTS):
        if len(calls) == count or not shapes:
            break
        args = _evened(_arguments(sources, given, attempt, chance), even)
        key = json.dumps(args)
        if key not in seen:
            seen.add(key)
            calls.append(Call(f"g{len(calls)}", tuple(args)))
    return calls


def bound(calls: Sequence[Call], signature: str | None) -> list[tuple[Any, ...]]:
    """Return the calls' arguments as Python values, by the signature's annotations."""
    shapes = [shape for _, shape in parameters(signature)]
    return [
        tuple(bind(value, shapes[index] if index < len(shapes) else ANY) for index, value in enumerate(call.args))
        for call in calls
    ]


def _shapes(specification: Specification) -> list[Shape] | None:
    """Return each parameter's shape, from its annotation or else the examples' values; None when one is unknown."""
    stated = [shape for _, shape in parameters(specification.signature)]
    width = len(stated) or max((len(example.args) for example in specification.examples), default=0)
    shapes = []
    for index in range(width):
        values = [example.args[index] for example in specification.examples if len(example.args) == width]
        observed = _observed(values)
        shape = stated[index] if stated else ANY
        vague = shape.kind == "any" or (shape.kind == "list" and shape.of == (ANY,))
        shapes.append(observed if vague and observed.kind != "any" else shape)
    return None if any(shape.kind == "any" for shape in shapes) else shapes


def _observed(values: Sequence[JSON]) -> Shape:
    kinds = {type(value) for value in values}
    if kinds == {int, float} or kinds == {float}:
        return Shape("float")
    if len(kinds) != 1:
        return ANY
    kind = kinds.pop()
    if kind in (int, bool, str):
        return Shape(kind.__name__)
    if kind is list:
        return Shape("list", (_observed([item for value in values for item in value]),))
    if kind is dict:
        return Shape("dict", (Shape("str"), _observed([item for value in values for item in value.values()])))
    return ANY


def _arguments(sources: Sequence["_Source"], given: Sequence[list[JSON]], attempt: int, chance: Random) -> list[JSON]:
    """Return arguments: an example with one or with all of them varied, or fresh ones."""
    if not given or attempt % 5 == 4:
        return [source.fresh() for source in sources]
    base = list(chance.choice(given))
    chosen = [chance.randrange(len(sources))] if attempt % 5 < 3 else range(len(sources))
    for index in chosen:
        base[index] = sources[index].varied(base[index])
    return base


def _even_lengths(given: Sequence[list[JSON]], width: int) -> list[int]:
    """Return the parameters that are lists of one common length in every example: they belong together."""
    lists = [index for index in range(width) if given and all(isinstance(args[index], list) for args in given)]
    together = len(lists) > 1 and all(len({len(args[index]) for index in lists}) == 1 for args in given)
    return lists if together else []


def _evened(args: list[JSON], even: Sequence[int]) -> list[JSON]:
    if not all(isinstance(args[index], list) for index in even):
        return args  # the examples are lists where the signature says otherwise
    shortest = min((len(args[index]) for index in even), default=0)
    return [value[:shortest] if index in even else value for index, value in enumerate(args)]


class _Source:
    """Values for one parameter: of its shape, in the range and alphabet that its examples show."""

    def __init__(self, shape: Shape, examples: Sequence[JSON], chance: Random) -> None:
        self._shape, self._chance = shape, chance
        numbers, texts = _leaves(examples)
        # A little beyond what was seen: for a function of exponential cost, far beyond would only find limits.
        seen = max((int(abs(number) * 1.5) for number in numbers if abs(number) < 1e6), default=12)
        self._largest = max(6, seen)
        self._lowest = min([0, *numbers])
        # Where no example says otherwise a plain int may be negative, but a count rarely is: try it now and then.
        self._negative = 0.3 if self._lowest < 0 else (0.06 if shape.kind in ("int", "float") else 0.0)
        self._alphabet = "".join(sorted(set("".join(texts)))) or LETTERS
        self._texts = sorted({text for text in texts if text})

    def fresh(self) -> JSON:
        """Return a new value of the shape."""
        return self._value(self._shape, 0)

    def _value(self, shape: Shape, depth: int) -> JSON:
        chance = self._chance
        match shape.kind:
            case "int":
                return self._integer()
            case "float":
                return round(self._integer() + chance.choice((0.0, 0.0, 0.5, 0.25, 0.1)), 3)
            case "bool":
                return chance.random() < 0.5
            case "str":
                return self._text()
            case "None":
                return None
            case "list" | "set":
                element = shape.of[0] if shape.of and shape.of[0].kind != "any" else Shape("int")
                return [
                    self._value(element, depth + 1)
                    for _ in range(chance.choice((0, 1, 2, 3, 4, 6, 9)[: max(1, 7 - 2 * depth)]))
                ]
            case "tuple":
                return [self._value(part, depth + 1) for part in shape.of] if depth < DEEPEST_TUPLE else []
            case "dict":
                element = shape.of[1] if shape.of[1].kind != "any" else Shape("int")
                number = shape.of[0].kind == "int"
                size = chance.randrange(5) if depth < DEEPEST else 0
                keys = {str(self._integer()) if number else self._text() for _ in range(size)}
                return {key: self._value(element, depth + 1) for key in sorted(keys)}
            case "union":
                return self._value(chance.choice(shape.of), depth)
            case _:
                return self._integer()

    def _integer(self) -> int:
        chance = self._chance
        number = chance.choice(SMALL) if chance.random() < 0.5 else chance.randint(0, self._largest)
        number = min(number, self._largest)
        return -number if chance.random() < self._negative else number

    def _text(self) -> str:
        chance = self._chance
        if self._texts and chance.random() < 0.5:
            return self._same_pattern(chance.choice(self._texts))
        return "".join(chance.choice(self._alphabet) for _ in range(chance.choice((0, 1, 2, 3, 5, 8, MAX_LENGTH))))

    def _same_pattern(self, text: str) -> str:
        """Return a text with digits for digits and letters for letters: "1/5" becomes "7/2", a date stays a date."""
        chance = self._chance

        def other(character: str) -> str:
            if chance.random() < 0.4:
                return character
            if character.isdigit():
                return chance.choice("123456789")
            alike = [one for one in self._alphabet if one.isupper() == character.isupper() and one.isalpha()]
            return chance.choice(alike) if character.isalpha() and alike else character

        return "".join(other(character) for character in text)

    def varied(self, value: JSON) -> JSON:
        """Return a neighbour of an example's value."""
        chance = self._chance
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            near = chance.choice((value + 1, value - 1, value * 2, value // 2, 0, 1, self._integer()))
            if abs(near) >= UNWRITABLE:
                return value
            return near if near >= 0 or self._negative else abs(near)
        if isinstance(value, float):
            return round(chance.choice((value + 1, value - 0.5, value * 2, value / 2, 0.0, float(self._integer()))), 3)
        if isinstance(value, str):
            return chance.choice(_TEXT_CHANGES)(value) if chance.random() < 0.5 else self._text()
        if isinstance(value, list):
            return self._varied_list(value)
        if isinstance(value, dict) and value:
            name = chance.choice(sorted(value))
            rest = {key: item for key, item in value.items() if key != name}
            return rest if chance.random() < 0.5 else {**rest, name: self.varied(value[name])}
        return self.fresh()

    def _varied_list(self, value: list[JSON]) -> list[JSON]:
        chance = self._chance
        if self._shape.kind == "tuple":
            index = chance.randrange(len(value)) if value else 0
            return [self.varied(item) if position == index else item for position, item in enumerate(value)]
        choice = chance.randrange(8)
        if choice == 0 or not value:
            return self.fresh() if isinstance(self.fresh(), list) else []
        if choice < 4:
            index = chance.randrange(len(value))
            return [*value[:index], self.varied(value[index]), *value[index + 1 :]]
        if choice == 4:
            return [*value, chance.choice(value)]
        return chance.choice(_LIST_CHANGES)(value)


def _leaves(values: Sequence[JSON]) -> tuple[list[float], list[str]]:
    """Return all numbers and all texts in the values, at any depth."""
    numbers: list[float] = []
    texts: list[str] = []
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append(value)
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            texts.extend(value)
            left.extend(value.values())
    return numbers, texts


_TEXT_CHANGES: Final[tuple[Callable[[str], str], ...]] = (
    lambda text: text[1:],
    lambda text: text[:-1],
    lambda text: text[::-1],
    lambda text: text + text,
    lambda text: text.swapcase(),
    lambda text: text[: len(text) // 2],
    lambda text: "",
)
_LIST_CHANGES: Final[tuple[Callable[[list[JSON]], list[JSON]], ...]] = (
    lambda items: items[1:],
    lambda items: items[:-1],
    lambda items: items[::-1],
    lambda items: [*items, *items],
    lambda items: items[:1],
    lambda items: [],
)
