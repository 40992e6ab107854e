"""What the prose of a request says about the program: constants it names, hints of the weights that it triggers."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
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


def outcomes(expected: Iterable[object], requirements: str) -> list[object]:
    """Return None and the strings that name an outcome: whole results that recur, or that the request quotes.

    Any other result is computed from the arguments; offered as a constant it would only be learnt by heart.
    """
    values = list(expected)
    texts = [value for value in values if isinstance(value, str)]
    named = [
        text for text in dict.fromkeys(texts) if text and (texts.count(text) > 1 or text in literals(requirements))
    ]
    return [*named, *([None] if None in values else [])]


@dataclass(frozen=True, slots=True)
class StatedCase:
    """A case that the prose singles out: where `guard` holds, return `literal`.

    guard    "empty" for an empty argument, or ("<", parameter, parameter)
    """

    guard: tuple[str, ...]
    literal: str


_RETURNED: Final = re.compile(
    r"\breturn(?:s|ing)?\s+(?:the (?:string|value|number|integer)\s+)?"
    r"[`'\"]?(?P<value>None|True|False|-?\d+|an? empty (?:list|array|string|dict\w*)|\[\])(?![\w.]*\w)",
    re.IGNORECASE,
)
_SENTENCES: Final = re.compile(r"(?<=[.!?;])\s+|\n")
_LITERALS: Final = {"none": "None", "true": "True", "false": "False", "[]": "[]"}
_COMPARISON: Final = re.compile(
    r"\bif `?(\w+)`? is (greater|larger|more|bigger|less|smaller|lower) than `?(\w+)`?", re.IGNORECASE
)


def _literal(stated: str) -> str:
    lowered = stated.lower()
    if "empty" in lowered:
        return '""' if "string" in lowered else "{}" if "dict" in lowered else "[]"
    return _LITERALS.get(lowered, stated)


def fallbacks(requirements: str) -> list[str]:
    """Return the literals that the prose says are returned in some case: `-1` of "if there is none, return -1"."""
    return list(dict.fromkeys(_literal(match.group("value")) for match in _RETURNED.finditer(requirements)))


def stated_cases(requirements: str, parameters: Iterable[str]) -> list[StatedCase]:
    """Return the cases that a sentence states with both their condition and what is returned."""
    names = set(parameters)
    cases: list[StatedCase] = []
    for sentence in _SENTENCES.split(requirements):
        returned = _RETURNED.search(sentence)
        if returned is None:
            continue
        literal = _literal(returned.group("value"))
        compared = _COMPARISON.search(sentence)
        if compared and {compared.group(1), compared.group(3)} <= names:
            left, word, right = compared.groups()
            larger = word.lower() in {"greater", "larger", "more", "bigger"}
            cases.append(StatedCase(("<", right, left) if larger else ("<", left, right), literal))
        elif re.search(r"\bempty\b(?! (list|array|string|dict))", sentence.replace(returned.group(), " ")) or re.search(
            r"\b(if|when|for|case|is)\b.*\bempty\b", sentence.replace(returned.group(), " "), re.IGNORECASE
        ):
            cases.append(StatedCase(("empty",), literal))
    return cases
