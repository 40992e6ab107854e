"""Recurrences: functions of a whole number whose value follows from the values before it.

A step such as `f(n - 1) + f(n - 2)` is enumerated in a scope of its own, over sample values, and run from base values
that the examples or small numbers give.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Final

from .scope import Grammar, Scope
from .terms import FAILURES, UNDEFINED, Leaf, Operator, Term
from .types import Value

ORDERS: Final = (1, 2, 3)
_LONGEST: Final = 300  # steps
_SAMPLES: Final = {  # values of f(n - 1), f(n - 2), f(n - 3) and n at which two steps are told apart
    "values[-1]": (1, 2, 5, 13, 24, 7, 3),
    "values[-2]": (1, 1, 3, 8, 13, 4, 9),
    "values[-3]": (0, 1, 2, 5, 7, 11, 2),
    "index": (2, 3, 5, 7, 8, 4, 6),
}
_STEPS: Final = 600  # of each order


class Recurrence:
    """A step with its base values: what `Leaf` is to a variable, this is to a whole body."""

    def __init__(self, step: Term, bases: tuple[int, ...], parameter: str) -> None:
        self.step = step
        self.bases = bases
        self.parameter = parameter

    def value(self, number: Value, run: Callable[[list[int], int], int]) -> Value:
        """Return the value at a number, UNDEFINED where there is none or it lies too far."""
        if not isinstance(number, int) or not 0 <= number <= _LONGEST:
            return UNDEFINED
        values = list(self.bases)
        try:
            for index in range(len(values), number + 1):
                values.append(run(values, index))
                if values[-1].bit_length() > 512:
                    return UNDEFINED
            return values[number]
        except FAILURES:
            return UNDEFINED

    def statements(self) -> list[str]:
        """Return the lines of the body."""
        start = len(self.bases)
        return [
            f"values = [{', '.join(map(str, self.bases))}]",
            f"for index in range({start}, {self.parameter} + 1):",
            f"    values.append({self.step.render()})",
            f"return values[{self.parameter}]",
        ]


def compiled(term: Term) -> Callable[[list[int], int], int]:
    """Return the step as a function of the values so far and the index."""
    if isinstance(term.head, Leaf):
        text = term.head.text
        if term.constant:
            constant: int = term.values[0]
            return lambda values, index: constant
        if text == "index":
            return lambda values, index: index
        back = int(text[len("values[") : -1])
        return lambda values, index: values[back]
    assert isinstance(term.head, Operator)
    apply = term.head.apply
    if len(term.kids) == 1:
        only = compiled(term.kids[0])
        return lambda values, index: int(apply(only(values, index)))
    left, right = (compiled(kid) for kid in term.kids[:2])
    return lambda values, index: int(apply(left(values, index), right(values, index)))


_ALLOWED: Final = frozenset({"add", "subtract", "multiply", "floor_divide", "modulo", "larger", "smaller", "power"})


def recurrences(
    grammar: Grammar, parameter: str, numbers: Sequence[int], expected: Sequence[int]
) -> Iterator[tuple[Recurrence, int, Callable[[list[int], int], int]]]:
    """Yield recurrences that give the expected values at the numbers, with their cost in bits.

    numbers   the examples' arguments
    expected  the examples' results
    """
    if min(numbers) < 0 or max(numbers) > _LONGEST or len(set(numbers)) < 3:
        return
    known = dict(zip(numbers, expected, strict=True))
    narrow = Grammar(grammar.weights, grammar.budget)
    narrow.operators = [(cost, operator) for cost, operator in grammar.operators if operator.name in _ALLOWED]
    narrow.forms = [(cost, form) for cost, form in grammar.forms if form.name == "all"]  # no source, so never used
    for order in ORDERS:
        names = [*(f"values[-{back}]" for back in range(1, order + 1)), "index"]
        variables = [Term(Leaf(name), (), "int", 1 if name != "index" else 2, _SAMPLES[name]) for name in names]
        scope = Scope(narrow, len(variables[0].values), variables)
        for literal in (1, 2):
            constant = Term(Leaf(str(literal)), (), "int", 2, (literal,) * scope.size, constant=True)
            scope.leaves[2].append(constant)
        base_choices = [[known[place]] if place in known else [0, 1, 2] for place in range(order)]
        for step in islice(_steps(scope, order), _STEPS):
            run = compiled(step)
            for bases in product(*base_choices):
                found = Recurrence(step, tuple(bases), parameter)
                if all(found.value(number, run) == value for number, value in known.items()):
                    guessed = sum(place not in known for place in range(order))
                    yield found, step.cost + 2 * order + 2 * guessed, run


def _steps(scope: Scope, order: int) -> Iterator[Term]:
    deepest = f"values[-{order}]"
    for cost in range(2, 14):
        scope.advance(cost)
        for term in scope.at(cost).get("int", ()):
            leaves = {node.head.text for node in term.nodes() if isinstance(node.head, Leaf)}
            if deepest in leaves:
                yield term
