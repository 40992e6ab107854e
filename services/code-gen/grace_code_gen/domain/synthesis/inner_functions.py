"""Readable inner functions that programs may call: each as Python text and as the function that text defines.

`TEXTS` holds what is put into the program, `CALLS` the same functions with bounds on their arguments, for evaluation.
A test runs both on the same arguments.
"""

from collections.abc import Callable
from math import isqrt
from typing import Final

from .types import Value

_LARGEST: Final = 10**8  # trial division stays below ten thousand steps
_MOST_ITEMS: Final = 4_000  # of all the parts that a list is cut into

TEXTS: Final[dict[str, str]] = {
    "is_prime": """\
def is_prime(number):
    if number < 2:
        return False
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))
""",
    "prime_factors": """\
def prime_factors(number):
    factors = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    if number > 1:
        factors.append(number)
    return factors
""",
    "divisors": """\
def divisors(number):
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
""",
    "fibonacci": """\
def fibonacci(index):
    current, following = 0, 1
    for _ in range(index):
        current, following = following, current + following
    return current
""",
    "digits": """\
def digits(number):
    return [int(digit) for digit in str(abs(number))]
""",
    "signed_digits": """\
def signed_digits(number):
    result = [int(digit) for digit in str(abs(number))]
    if number < 0:
        result[0] = -result[0]
    return result
""",
    "to_base": """\
def to_base(number, base):
    if number < 0 or base < 2:
        raise ValueError("number or base out of range")
    digits = ""
    while number:
        digits = str(number % base) + digits
        number //= base
    return digits or "0"
""",
    "depths": """\
def depths(text):
    depth = 0
    result = []
    for char in text:
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            depth -= 1
        result.append(depth)
    return result
""",
    "is_balanced": """\
def is_balanced(text):
    depth = 0
    for char in text:
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            depth -= 1
        if depth < 0:
            return False
    return depth == 0
""",
    "bracket_groups": """\
def bracket_groups(text):
    groups = []
    group = ""
    depth = 0
    for char in text:
        if char not in "()[]{}<>":
            continue
        group += char
        depth += 1 if char in "([{<" else -1
        if depth == 0:
            groups.append(group)
            group = ""
    return groups
""",
    "shift_letter": """\
def shift_letter(char, offset):
    if char.islower():
        return chr((ord(char) - ord("a") + offset) % 26 + ord("a"))
    if char.isupper():
        return chr((ord(char) - ord("A") + offset) % 26 + ord("A"))
    return char
""",
    "sort_every": """\
def sort_every(items, step):
    result = list(items)
    result[::step] = sorted(result[::step])
    return result
""",
    "rotate": """\
def rotate(items, count):
    if not items:
        return items
    count %= len(items)
    return items[-count:] + items[:-count]
""",
    "interleave": """\
def interleave(items, separator):
    result = []
    for item in items:
        result += [item, separator]
    return result[:-1]
""",
    "to_roman": """\
def to_roman(number):
    values = [1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1]
    symbols = ["M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"]
    result = ""
    for value, symbol in zip(values, symbols):
        result += symbol * (number // value)
        number %= value
    return result
""",
    "collatz": """\
def collatz(number):
    sequence = [number]
    while number > 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        sequence.append(number)
    return sequence
""",
    "chunks": """\
def chunks(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]
""",
    "windows": """\
def windows(items, size):
    return [items[start : start + size] for start in range(len(items) - size + 1)]
""",
    "runs": """\
def runs(items):
    groups = []
    for item in items:
        if groups and groups[-1][-1] == item:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups
""",
    "is_perfect_power": """\
def is_perfect_power(number, exponent):
    root = round(abs(number) ** (1 / exponent))
    return root**exponent == abs(number) and (number >= 0 or exponent % 2 == 1)
""",
    "subarrays": """\
def subarrays(items):
    size = len(items)
    return [items[start:stop] for start in range(size) for stop in range(start + 1, size + 1)]
""",
    "is_subsequence": """\
def is_subsequence(part, whole):
    remaining = iter(whole)
    return all(item in remaining for item in part)
""",
}


def _bounded(number: int) -> int:
    if abs(number) > _LARGEST:
        raise ValueError("too large to evaluate")
    return number


def _is_prime(number: int) -> bool:
    return _bounded(number) >= 2 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def _prime_factors(number: int) -> tuple[int, ...]:
    factors: list[int] = []
    divisor = 2
    _bounded(number)
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return (*factors, number) if number > 1 else tuple(factors)


def _divisors(number: int) -> tuple[int, ...]:
    if number > 10_000:
        raise ValueError("too large to evaluate")
    return tuple(divisor for divisor in range(1, number + 1) if number % divisor == 0)


def _fibonacci(index: int) -> int:
    if index > 300:
        raise ValueError("too large to evaluate")
    current, following = 0, 1
    for _ in range(index):
        current, following = following, current + following
    return current


def _digits(number: int) -> tuple[int, ...]:
    return tuple(map(int, str(abs(number))))


def _signed_digits(number: int) -> tuple[int, ...]:
    digits = _digits(number)
    return (-digits[0], *digits[1:]) if number < 0 else digits


def _to_base(number: int, base: int) -> str:
    if base < 2 or number < 0 or number.bit_length() > 256:
        raise ValueError("number or base out of range")
    digits = ""
    while number:
        digits = str(number % base) + digits
        number //= base
    return digits or "0"


def _depths(text: str) -> tuple[int, ...]:
    depth, result = 0, []
    for char in text:
        depth += (char in "([{<") - (char in ")]}>")
        result.append(depth)
    return tuple(result)


def _is_balanced(text: str) -> bool:
    depths = _depths(text)
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def _bracket_groups(text: str) -> tuple[str, ...]:
    groups, group, depth = [], "", 0
    for char in text:
        if char not in "()[]{}<>":
            continue
        group += char
        depth += 1 if char in "([{<" else -1
        if depth == 0:
            groups.append(group)
            group = ""
    return tuple(groups)


def _shift_letter(char: str, offset: int) -> str:
    if char.islower():
        return chr((ord(char) - ord("a") + offset) % 26 + ord("a"))
    if char.isupper():
        return chr((ord(char) - ord("A") + offset) % 26 + ord("A"))
    return char


def _sort_every(items: tuple[Value, ...], step: int) -> tuple[Value, ...]:
    if step < 1:
        raise ValueError("the step must be positive")
    result = list(items)
    result[::step] = sorted(result[::step])
    return tuple(result)


def _rotate(items: Value, count: int) -> Value:
    if not items:
        return items
    count %= len(items)
    return items[-count:] + items[:-count]


def _interleave(items: tuple[Value, ...], separator: Value) -> tuple[Value, ...]:
    return tuple(value for item in items for value in (item, separator))[:-1]


def _to_roman(number: int) -> str:
    if not 0 <= number < 5_000:
        raise ValueError("no such Roman numeral")
    result = ""
    values = (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1)
    symbols = ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I")
    for value, symbol in zip(values, symbols, strict=True):
        result += symbol * (number // value)
        number %= value
    return result


def _collatz(number: int) -> tuple[int, ...]:
    sequence = [_bounded(number)]
    while number > 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        sequence.append(number)
    return tuple(sequence)


def _chunks(items: Value, size: int) -> tuple[Value, ...]:
    if size < 1:
        raise ValueError("the size must be positive")
    return tuple(items[start : start + size] for start in range(0, len(items), size))


def _windows(items: Value, size: int) -> tuple[Value, ...]:
    if not 0 <= size <= len(items) + 1 or size * len(items) > _MOST_ITEMS:
        raise ValueError("no such window")
    return tuple(items[start : start + size] for start in range(len(items) - size + 1))


def _runs(items: Value) -> tuple[tuple[Value, ...], ...]:
    groups: list[tuple[Value, ...]] = []
    for item in items:
        if groups and groups[-1][-1] == item:
            groups[-1] = (*groups[-1], item)
        else:
            groups.append((item,))
    return tuple(groups)


def _is_perfect_power(number: int, exponent: int) -> bool:
    if not 1 <= exponent <= 64:
        raise ValueError("no such exponent")
    root: int = round(abs(_bounded(number)) ** (1 / exponent))
    return root**exponent == abs(number) and (number >= 0 or exponent % 2 == 1)


def _subarrays(items: Value) -> tuple[Value, ...]:
    size = len(items)
    if size > 24:
        raise ValueError("too long to evaluate")
    return tuple(items[start:stop] for start in range(size) for stop in range(start + 1, size + 1))


def _is_subsequence(part: Value, whole: Value) -> bool:
    remaining = iter(whole)
    return all(item in remaining for item in part)


CALLS: Final[dict[str, Callable[..., Value]]] = {
    "is_prime": _is_prime,
    "prime_factors": _prime_factors,
    "divisors": _divisors,
    "fibonacci": _fibonacci,
    "digits": _digits,
    "signed_digits": _signed_digits,
    "to_base": _to_base,
    "depths": _depths,
    "is_balanced": _is_balanced,
    "bracket_groups": _bracket_groups,
    "shift_letter": _shift_letter,
    "sort_every": _sort_every,
    "rotate": _rotate,
    "interleave": _interleave,
    "to_roman": _to_roman,
    "collatz": _collatz,
    "chunks": _chunks,
    "windows": _windows,
    "runs": _runs,
    "is_perfect_power": _is_perfect_power,
    "subarrays": _subarrays,
    "is_subsequence": _is_subsequence,
}
