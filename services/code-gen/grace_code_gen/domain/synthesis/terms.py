"""Terms: the nodes of enumerated programs, each carrying its values in every environment it was evaluated in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from .types import Type, Value


class _Undefined:
    """The value of a term where evaluating it raises."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = _Undefined()
FAILURES = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, StopIteration)

_MEMBERSHIP: Final = " in "
_FLIPPED: Final = {"less": "{1} > {0}", "at_most": "{1} >= {0}"}  # `x > 0`, not `0 < x`

# Precedence of a rendered expression, as in the Python grammar: the higher binds tighter.
ANY, TERNARY, OR, AND, NOT, COMPARE, BITOR, ADD, MULTIPLY, UNARY, POWER, ATOM = range(12)


@dataclass(frozen=True, eq=False, slots=True)
class Operator:
    """A function of the language.

    name      under which the weights know it
    params    type patterns of the operands
    result    type pattern of the result
    apply     the function on values; it raises where the result is undefined or too big
    template  the Python text, with {0}, {1} … for the operands
    slots     precedence below which an operand is put in parentheses
    level     precedence of the whole
    swaps     the operands may be exchanged
    imports   import lines the text needs
    function  name of the inner function the text calls, from `inner_functions`
    """

    name: str
    params: tuple[Type, ...]
    result: Type
    apply: Callable[..., Value]
    template: str
    slots: tuple[int, ...]
    level: int = ATOM
    swaps: bool = False
    imports: tuple[str, ...] = ()
    function: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """A comprehension, generator expression or keyed call: what binds variables over a source.

    kind      "test" takes a predicate, "map" a body, "filtered" both
    result    the type of the whole from (element type, body type, source type), None where the form does not apply
    apply     from (elements, body values, kept) of one environment to the value
    template  the Python text, with {v} variables, {kv} the same as a dict entry, {s} source, {b} body, {p} predicate
    """

    name: str
    kind: str
    result: Callable[[Type, Type, Type], Type | None]
    apply: Callable[[Value, Value, Value], Value]
    template: str
    level: int = ATOM
    imports: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Leaf:
    """A variable, or a constant as it is written."""

    text: str
    level: int = ATOM
    parameter: bool = False


class Term:
    """One node. `local` says that it uses the variable its scope binds, `partial` that some value is UNDEFINED."""

    __slots__ = ("constant", "cost", "head", "kids", "local", "partial", "type", "values", "variables")

    def __init__(
        self,
        head: Operator | Form | Leaf,
        kids: tuple["Term", ...],
        type_: Type,
        cost: int,
        values: tuple[Value, ...],
        *,
        partial: bool = False,
        local: bool = True,
        constant: bool = False,
        variables: str = "",
    ) -> None:
        self.head = head
        self.kids = kids
        self.type = type_
        self.cost = cost
        self.values = values
        self.partial = partial
        self.local = local
        self.constant = constant
        self.variables = variables

    def nodes(self) -> Iterator["Term"]:
        """Yield this node and every node below it."""
        yield self
        for kid in self.kids:
            yield from kid.nodes()

    def render(self, slot: int = ANY) -> str:
        """Return the Python text, in parentheses where the slot binds tighter than the text."""
        head = self.head
        if isinstance(head, Leaf):
            return self._in_slot(head.text, head.level, slot)
        if isinstance(head, Form):
            source, *parts = self.kids
            body = parts[0].render(TERNARY) if head.kind != "test" else ""
            test = parts[-1].render(OR) if head.kind != "map" else ""
            entry = self.variables.replace(", ", ": ")
            text = head.template.format(v=self.variables, kv=entry, s=source.render(OR), b=body, p=test)
            return self._in_slot(text, head.level, slot)
        template, kids = head.template, self.kids
        if head.name == "not" and isinstance(kids[0].head, Operator) and _MEMBERSHIP in kids[0].head.template:
            head, kids = kids[0].head, kids[0].kids  # `a not in b`, not `not a in b`
            template = head.template.replace(_MEMBERSHIP, " not in ")
        elif head.name in _FLIPPED and kids[0].constant:
            template = _FLIPPED[head.name]
        operands = (kid.render(need) for kid, need in zip(kids, head.slots, strict=True))
        return self._in_slot(template.format(*operands), head.level, slot)

    @staticmethod
    def _in_slot(text: str, level: int, slot: int) -> str:
        return f"({text})" if level < slot else text
