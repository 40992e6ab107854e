"""Python values as type-tagged JSON: how arguments and results cross the sandbox's wall, and when two results agree.

The form keeps what JSON loses (tuples, sets, bytes, non-string keys, infinities, integers of any length), never runs
code of the value's class beyond iterating it, and is bounded in depth and in nodes. This module imports the standard
library only: the same text runs inside the sandbox. A tagged value is null, a bool, a string, an integer below 2^53,
or a list whose first element is the tag:

    ["i", hex]  ["f", text]  ["c", real, imaginary]  ["b", hex]
    ["l", …]    ["t", …]     ["s", …]   ["d", [key, value], …]   list, tuple, set or frozenset, dict
    ["g", …]                                                     what an iterator yielded
    ["o", type name, repr]                                       anything else; agrees only with its like
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

Tagged = Any  # JSON of the form above; recursive, so that a precise alias would say no more

MAX_DEPTH: Final = 40
MAX_NODES: Final = 20_000
MAX_REPR: Final = 200
SAFE_INTEGER: Final = 2**53  # beyond it a JSON number is not exact everywhere (RFC 8259, section 6)
RELATIVE_TOLERANCE: Final = 1e-9  # sums taken in another order differ in the last bits; answers to a question do not
_SCALARS: Final = {"i": 1, "f": 1, "c": 2, "b": 1, "o": 2}  # tag, number of strings after it
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{4,}")


class Unencodable(Exception):
    """The value is too deep, too large or refers to itself."""


def encode(value: object) -> Tagged:
    """Return the tagged form of `value`; raises Unencodable beyond MAX_DEPTH or MAX_NODES."""
    return _Encoder().encode(value, 0)


class _Encoder:
    def __init__(self) -> None:
        self._nodes = 0

    def encode(self, value: object, depth: int) -> Tagged:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise Unencodable(f"the value is nested deeper than {MAX_DEPTH} levels")
        if self._nodes > MAX_NODES:
            raise Unencodable(f"the value has more than {MAX_NODES} elements")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, int):
            number = int.__int__(value)
            return number if -SAFE_INTEGER < number < SAFE_INTEGER else ["i", hex(number)]
        if isinstance(value, float):
            return ["f", float.__repr__(value)]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, complex):
            return ["c", float.__repr__(value.real), float.__repr__(value.imag)]
        if isinstance(value, bytes | bytearray):
            return ["b", bytes(value).hex()]
        return self._collection(value, depth + 1)

    def _collection(self, value: object, depth: int) -> Tagged:
        # The base classes' own methods, so that a subclass cannot show one content here and another elsewhere.
        if isinstance(value, list):
            return ["l", *(self.encode(item, depth) for item in list.__iter__(value))]
        if isinstance(value, tuple):
            return ["t", *(self.encode(item, depth) for item in tuple.__iter__(value))]
        if isinstance(value, set):
            return ["s", *sorted((self.encode(item, depth) for item in set.__iter__(value)), key=canonical)]
        if isinstance(value, frozenset):
            return ["s", *sorted((self.encode(item, depth) for item in frozenset.__iter__(value)), key=canonical)]
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth), self.encode(item, depth)] for key, item in dict.items(value)]
            return ["d", *pairs]
        if isinstance(value, Iterator):
            return ["g", *(self.encode(item, depth) for item in value)]
        return ["o", type(value).__name__[:80], _ADDRESS.sub("0x", repr(value))[:MAX_REPR]]


def require_tagged(tagged: Tagged) -> None:
    """Raise ValueError unless `tagged` has the form described above: the other side of the wall is not trusted."""
    _require(tagged, MAX_DEPTH + 2)


def _require(tagged: Tagged, depth: int) -> None:
    if tagged is None or isinstance(tagged, bool | str):
        return
    if type(tagged) is int:
        if not -SAFE_INTEGER < tagged < SAFE_INTEGER:
            raise ValueError("an integer beyond 2^53 must be in hex")
        return
    if type(tagged) is not list or not tagged or depth == 0:
        raise ValueError("not a tagged value")
    tag, *rest = tagged
    if tag in ("l", "t", "s", "g"):
        for item in rest:
            _require(item, depth - 1)
    elif tag == "d":
        for pair in rest:
            if type(pair) is not list or len(pair) != 2:
                raise ValueError("a dict's entry is a key and a value")
            _require(pair[0], depth - 1)
            _require(pair[1], depth - 1)
    elif (
        type(tag) is str and tag in _SCALARS and len(rest) == _SCALARS[tag] and all(type(item) is str for item in rest)
    ):
        if tag != "o":
            decode(tagged)
    else:
        raise ValueError(f"not a tagged value: tag {tag!r:.20}")


def decode(tagged: Tagged) -> Any:
    """Return the Python value of a tagged form; ValueError when it has none (tag "o", or not of the form)."""
    if tagged is None or isinstance(tagged, bool | int | str):
        return tagged
    if not isinstance(tagged, list) or not tagged:
        raise ValueError(f"not a tagged value: {tagged!r:.80}")
    tag, *rest = tagged
    match tag:
        case "i":
            return int(rest[0], 16)
        case "f":
            return float(rest[0])
        case "c":
            return complex(float(rest[0]), float(rest[1]))
        case "b":
            return bytes.fromhex(rest[0])
        case "l":
            return [decode(item) for item in rest]
        case "t":
            return tuple(decode(item) for item in rest)
        case "s":
            return {_hashable(item) for item in rest}
        case "d":
            return {_hashable(key): decode(item) for key, item in rest}
        case "g":
            return iter([decode(item) for item in rest])
        case _:
            raise ValueError(f"a value of type {rest[0] if rest else tag} cannot be handed over")


def _hashable(tagged: Tagged) -> Any:
    value = decode(tagged)
    return frozenset(value) if isinstance(value, set) else value


def canonical(tagged: Tagged) -> str:
    """Return a text that is equal exactly for values of one output class.

    An int and a float of the same value are one class (Python's own equality), floats count to 12 significant digits,
    the order of a dict's keys does not matter; bool and number, list and tuple, stay apart.
    """
    return json.dumps(_canonical(tagged), separators=(",", ":"))


def _canonical(tagged: Tagged) -> Tagged:
    if isinstance(tagged, bool) or tagged is None or isinstance(tagged, str):
        return tagged
    if isinstance(tagged, int):
        return ["n", hex(tagged)]
    tag, *rest = tagged
    if tag == "i":
        return ["n", hex(int(rest[0], 16))]
    if tag == "f":
        return ["n", _float_text(float(rest[0]))]
    if tag == "d":
        pairs = [[_canonical(key), _canonical(item)] for key, item in rest]
        return ["d", *sorted(pairs, key=json.dumps)]
    if tag in ("c", "b", "o"):
        return tagged
    return [tag, *(_canonical(item) for item in rest)]


def _float_text(number: float) -> str:
    if math.isfinite(number):
        rounded = float(f"{number:.12g}")
        return hex(int(rounded)) if rounded.is_integer() else repr(rounded)
    return "nan" if math.isnan(number) else repr(number)


def digest(tagged: Tagged) -> str:
    """Return the output class as 16 hex digits: the head of SHA-256 over `canonical`."""
    return hashlib.sha256(canonical(tagged).encode()).hexdigest()[:16]


def shown(tagged: Tagged, limit: int = MAX_REPR) -> str:
    """Return the value as a person would read it, printable ASCII, at most `limit` characters."""
    try:
        text = _shown(tagged)
    except (ValueError, TypeError, IndexError):
        text = json.dumps(tagged)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _shown(tagged: Tagged) -> str:
    if not isinstance(tagged, list):
        return ascii(tagged)
    tag, *rest = tagged
    if tag == "o":
        return f"<{rest[0]}> {ascii(rest[1])[1:-1]}"
    if tag == "g":
        return f"iter({_shown(['l', *rest])})"
    if tag == "i":
        return str(rest[0])  # in hex: decimal digits of a huge integer take quadratic time
    if tag == "l":
        return "[" + ", ".join(_shown(item) for item in rest) + "]"
    if tag == "t":
        return "(" + ", ".join(_shown(item) for item in rest) + ("," if len(rest) == 1 else "") + ")"
    if tag == "s":
        return "{" + ", ".join(_shown(item) for item in rest) + "}" if rest else "set()"
    if tag == "d":
        return "{" + ", ".join(f"{_shown(key)}: {_shown(item)}" for key, item in rest) + "}"
    return ascii(decode(tagged))


def meets(tagged: Tagged, expected: object) -> bool:
    """Say whether an output is what a JSON value asked for.

    JSON has one sequence type, one number type and string keys, so that a list stands for a tuple, an iterator or (in
    any order) a set, a number for an int or a float within RELATIVE_TOLERANCE, a key for its `str`. true is not 1.
    """
    if expected is None or isinstance(expected, bool | str):
        return type(tagged) is type(expected) and tagged == expected
    if isinstance(expected, int | float):
        return _meets_number(tagged, expected)
    if not isinstance(tagged, list) or not tagged:
        return False
    tag, *rest = tagged
    if isinstance(expected, dict):
        if tag != "d" or len(rest) != len(expected):
            return False
        outputs = {_key_text(key): item for key, item in rest}
        return outputs.keys() == expected.keys() and all(meets(outputs[key], expected[key]) for key in expected)
    if not isinstance(expected, list) or len(rest) != len(expected):
        return False
    if tag == "s":
        return _meets_in_any_order(rest, expected)
    return tag in ("l", "t", "g") and all(meets(*pair) for pair in zip(rest, expected, strict=True))


def _meets_number(tagged: Tagged, expected: float) -> bool:
    if isinstance(tagged, bool):
        return False
    if isinstance(tagged, int):
        number: float = tagged
    elif isinstance(tagged, list) and tagged and tagged[0] in ("i", "f"):
        number = decode(tagged)
    else:
        return False
    if isinstance(number, int) and isinstance(expected, int):
        return number == expected
    try:
        return math.isclose(number, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    except OverflowError:  # an integer beyond every float
        return False


def _meets_in_any_order(outputs: Sequence[Tagged], expected: Sequence[object]) -> bool:
    left = list(expected)
    for output in outputs:
        found = next((index for index, item in enumerate(left) if meets(output, item)), None)
        if found is None:
            return False
        del left[found]
    return True


def _key_text(key: Tagged) -> str:
    return key if isinstance(key, str) else shown(key)
