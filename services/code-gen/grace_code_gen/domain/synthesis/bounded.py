"""Functions on values that fail where their result would take too long or too much memory."""

import math
from typing import Final

from .types import Value

LONGEST: Final = 2_000  # elements or letters a value may have
_BITS: Final = 256  # of an integer


def sized(value: Value) -> Value:
    if len(value) > LONGEST:
        raise ValueError("too long to evaluate")
    return value


def multiply(left: Value, right: Value) -> Value:
    product = left * right
    if isinstance(product, int) and product.bit_length() > _BITS:
        raise OverflowError("too large to evaluate")
    return product


def power(base: Value, exponent: Value) -> Value:
    if isinstance(base, int) and (exponent < 0 or base.bit_length() * exponent > _BITS):
        raise OverflowError("too large to evaluate")
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("not real")
    return result


def repeat(items: Value, times: int) -> Value:
    if len(items) * times > LONGEST:
        raise ValueError("too long to evaluate")
    return items * times


def steps(start: int, stop: int, step: int = 1) -> tuple[int, ...]:
    steps = range(start, stop, step)
    if len(steps) > LONGEST:
        raise ValueError("too long to evaluate")
    return tuple(steps)


def factorial(number: int) -> int:
    if number > 55:
        raise OverflowError("too large to evaluate")
    return math.factorial(number)


def unsigned(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


def product(values: Value) -> Value:
    result: Value = 1
    for value in values:
        result = multiply(result, value)
    return result


def in_order(items: frozenset[Value] | Value) -> tuple[Value, ...]:
    return tuple(sorted(items))


def unique(items: Value) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(items))


def flatten(lists: Value) -> tuple[Value, ...]:
    return tuple(item for inner in lists for item in inner)


def item(items: Value, position: int) -> Value:
    return items[position]


def median(values: Value) -> Value:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def at_most(items: Value, length: int) -> Value:
    if len(items) > length:
        raise ValueError("too long to evaluate")
    return items


def zipped(left: Value, right: Value) -> tuple[Value, ...]:
    return tuple(zip(left, right, strict=False))


def lookup(mapping: Value, key: Value, default: Value) -> Value:
    return dict(mapping).get(key, default)


def nonempty(separator: str) -> str:
    if not separator:
        raise ValueError("empty separator")
    return separator
