"""How operators are declared: infix, as a call or method, or as a call of an inner function."""

from collections.abc import Callable
from typing import Final

from .inner_functions import CALLS
from .terms import ADD, ANY, ATOM, BITOR, COMPARE, MULTIPLY, Operator
from .types import Type, Value

_INFIX_LEVELS: Final = {"+": ADD, "-": ADD, "*": MULTIPLY, "/": MULTIPLY, "//": MULTIPLY, "%": MULTIPLY, "&": BITOR}


def infix(
    name: str, symbol: str, params: tuple[Type, Type], result: Type, apply: Callable[..., Value], *, swaps: bool = False
) -> Operator:
    """Declare an operator written between its two operands."""
    level = _INFIX_LEVELS.get(symbol, BITOR if symbol in {"|", "^"} else COMPARE)
    left = level + 1 if level == COMPARE else level
    return Operator(name, params, result, apply, f"{{0}} {symbol} {{1}}", (left, level + 1), level, swaps)


def call(
    name: str,
    params: tuple[Type, ...],
    result: Type,
    apply: Callable[..., Value],
    template: str,
    *,
    imports: tuple[str, ...] = (),
    level: int = ATOM,
    slots: tuple[int, ...] | None = None,
    swaps: bool = False,
) -> Operator:
    """Declare an operator by its Python text, with {0}, {1} … for the operands."""
    if slots is None:  # what stands before a dot or a bracket, or beside an infix symbol, must bind tightly
        slots = tuple(_slot(template, position) for position in range(len(params)))
    return Operator(name, params, result, apply, template, slots, level, swaps, imports)


def _slot(template: str, position: int) -> int:
    before, after = template.split(f"{{{position}}}", 1)
    alone = (not before or before[-1] in "([,: ") and (not after or after[0] in ")],: ")
    neighbours = before.rstrip()[-1:] in {"(", "[", ",", ":", ""} and after.lstrip()[:1] in {")", "]", ",", ":", ""}
    return ANY if alone and neighbours and (before or after) else ATOM


def inner(name: str, params: tuple[Type, ...], result: Type) -> Operator:
    """Declare the call of an inner function."""
    operands = ", ".join(f"{{{position}}}" for position in range(len(params)))
    return Operator(name, params, result, CALLS[name], f"{name}({operands})", (ANY,) * len(params), function=name)


def inner_on_text(name: str, inner: str, params: tuple[Type, ...], result: Type) -> Operator:
    """Declare the call of an inner function that takes strings as well as lists."""
    operands = ", ".join(f"{{{position}}}" for position in range(len(params)))
    return Operator(name, params, result, CALLS[inner], f"{inner}({operands})", (ANY,) * len(params), function=inner)
