"""What the prose of a request says about the program: constants it names, hints of the weights that it triggers."""

import ast
import re
from collections.abc import Iterable
from typing import Final

from .types import Type, Value, freeze, type_of

_NUMBER_WORDS: Final = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "hundred": 100,
    "third": 3, "twice": 2, "thrice": 3, "double": 2, "triple": 3, "cube": 3, "cubes": 3,
}  # fmt: skip
_QUOTED: Final = re.compile(r"(?<![\w\\])(['\"`])((?:(?!\1)[^\n\\]){1,20})\1(?!\w)")
_NUMERAL: Final = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_WORD: Final = re.compile(r"[a-z]+")


def request_text(requirements: str, entry_point: str) -> str:
    """Return the prose with the function's name spelled out as words."""
    return f"{requirements} {spelled(entry_point)}"


def spelled(entry_point: str) -> str:
    """Return a name as words: `countUpTo` and `count_up_to` both give "count up to"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_+", " ", entry_point).strip().lower()


def literals(requirements: str) -> list[Value]:
    """Return the numbers and quoted strings of the prose, in their order, once each."""
    found: list[Value] = [match.group(2) for match in _QUOTED.finditer(requirements)]
    for match in _NUMERAL.finditer(requirements):
        found.append(float(match.group()) if "." in match.group() else int(match.group()))
    lowered = requirements.lower()
    found.extend(_NUMBER_WORDS[word] for word in _WORD.findall(lowered) if word in _NUMBER_WORDS)
    return list({(type(value), value): value for value in found}.values())


def constant(literal: str) -> tuple[str, Type, Value]:
    """Return text, type and value of a Python literal."""
    value = ast.literal_eval(literal)
    type_ = constant_type(value)
    return written(value), type_, freeze(value, type_)


def constant_type(value: object) -> Type:
    """Return the type of a constant, where a string of one letter is a char."""
    return "char" if isinstance(value, str) and len(value) == 1 else type_of(value)


def written(value: object) -> str:
    """Return the literal of a value as ruff formats it: strings in double quotes."""
    if isinstance(value, str):
        text = repr(value)
        inner = text[1:-1]
        return text if '"' in inner else f'"{inner}"'.replace("\\'", "'")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{written(key)}: {written(inner)}' for key, inner in value.items())}}}"
    return repr(value)


def outcomes(expected: Iterable[object]) -> list[object]:
    """Return the strings and numbers that stand for an outcome: whole results that are few among the examples."""
    values = list(expected)
    distinct = {repr(value): value for value in values if value is None or isinstance(value, str | int | float)}
    texts = [value for value in distinct.values() if isinstance(value, str)]
    if len(texts) > 4 or any(len(text) > 24 for text in texts):
        return [value for value in distinct.values() if value is None]
    return [value for value in distinct.values() if value is None or isinstance(value, str)]
