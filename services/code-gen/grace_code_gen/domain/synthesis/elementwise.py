"""What the examples say about single elements, and what follows: bodies with a condition, predicates of two parts.

Where the expected result has as many elements as a source, the body of a map is known element by element, and joining
terms by a guard finds it far beyond the cost at which plain enumeration stops. Pairs of predicates are tried as bit
masks over all elements, a few bits ahead of the enumeration.
"""

from collections.abc import Iterator
from typing import Final

from .conditionals import Branches
from .goal import Goal
from .scope import Scope
from .terms import UNDEFINED, Form, Operator, Term
from .types import Value, element, split

AHEAD: Final = 4  # bits
_DEAREST_SOURCE: Final = 4  # bits
_CONJUNCTIVE: Final = frozenset({"all", "any", "count_if", "filter", "filter_text"})


class Elementwise:
    """The element-level goals of one synthesis, fed by the scopes that its outermost scope has opened."""

    def __init__(self, goal: Goal, top: Scope) -> None:
        self._goal = goal
        self._top = top
        self._examples = goal.full.bit_length()
        self._operators = {operator.name: (cost, operator) for cost, operator in top.grammar.operators}
        self._maps: dict[int, tuple[Form, Goal, Branches] | None] = {}
        self._fed: dict[int, int] = {}
        self._masks: dict[int, int] = {}

    def terms(self, cost: int) -> Iterator[Term]:
        """Yield terms of the outermost scope that may satisfy the goal, after its enumeration up to a cost."""
        for source, scope in self._top.sources:
            if source.cost <= _DEAREST_SOURCE and not source.partial:
                yield from self._mapped(source, scope)
                yield from self._tested(source, scope, cost)

    # ------------------------------------------------------------------ bodies with a condition

    def _mapped(self, source: Term, scope: Scope) -> Iterator[Term]:
        if id(scope) not in self._maps:
            self._maps[id(scope)] = self._map_goal(source, scope)
        known = self._maps[id(scope)]
        if known is None:
            return
        form, goal, branches = known
        start = self._fed.get(id(scope), 1)
        self._fed[id(scope)] = len(scope.bank)
        for level in scope.bank[start:]:
            for terms in level.values():
                for term in terms:
                    mask = goal.mask(term)
                    if mask and mask != goal.full:
                        branches.term(term, mask)
            for guard in level.get("bool", ()):
                if guard.local:
                    branches.guard(guard)
        if_else = self._operators["if_else"][1]
        price = self._top.grammar.weights.cost(form.name)
        for solution in branches.joined():
            guard, then, otherwise = solution.terms
            body = Term(if_else, (then, guard, otherwise), then.type, solution.cost, solution.values)
            if made := self._whole(form, source, scope, body, price):
                yield made

    def _map_goal(self, source: Term, scope: Scope) -> tuple[Form, Goal, Branches] | None:
        """Return the form and its body's goal, where each example has a result for every element of the source."""
        expected = self._goal.values
        texts = all(isinstance(value, str) for value in expected)
        lists = all(type_.startswith("list") for type_ in self._goal.types)
        if not texts and not lists:
            return None
        spans = scope.spans[: self._examples]
        if any(len(value) != stop - start for value, (start, stop) in zip(expected, spans, strict=True)):
            return None
        results = [result for value in expected for result in value]
        if not results or any(isinstance(result, tuple) for result in results):
            return None
        name = "map_text" if texts else "map"
        form = next(form for _, form in self._top.grammar.forms if form.name == name)
        goal = Goal(results, "float" if self._goal.lenient else "?")
        return form, goal, Branches(goal, self._top.grammar.weights)

    # ------------------------------------------------------------------ predicates of two parts

    def _tested(self, source: Term, scope: Scope, cost: int) -> Iterator[Term]:
        spans = [((1 << stop) - 1) ^ ((1 << start) - 1) for start, stop in scope.spans[: self._examples]]
        for price, form in self._top.grammar.forms:
            if form.name not in _CONJUNCTIVE or not self._may_give(form, source):
                continue
            for name in ("and", "or"):
                glue, operator = self._operators[name]
                rest = cost + AHEAD - price - source.cost - glue
                yield from self._pairs(form, price, operator, source, scope, rest, spans)

    def _may_give(self, form: Form, source: Term) -> bool:
        inner = element(source.type)
        result = form.result(inner, "bool", source.type) if inner else None
        if result is None:
            return False
        return split(result)[0] == split(self._goal.type)[0]

    def _pairs(
        self, form: Form, price: int, operator: Operator, source: Term, scope: Scope, rest: int, spans: list[int]
    ) -> Iterator[Term]:
        deepest = len(scope.bank) - 1
        both = operator.name == "and"
        tick = self._top.grammar.budget.tick
        for first_cost in range((rest + 1) // 2, min(deepest, rest - 1) + 1):
            seconds = self._predicates(scope, rest - first_cost)
            for first, mask in self._predicates(scope, first_cost):
                tick(len(seconds) // 4)
                for second, other in seconds:
                    if self._gives(form.name, mask & other if both else mask | other, spans):
                        values = tuple(map(operator.apply, second.values, first.values))
                        glue = self._operators[operator.name][0]
                        body = Term(operator, (second, first), "bool", rest + glue, values)
                        if made := self._whole(form, source, scope, body, price):
                            yield made

    def _predicates(self, scope: Scope, cost: int) -> list[tuple[Term, int]]:
        if not 1 <= cost < len(scope.bank):
            return []
        return [
            (term, self._mask(term)) for term in scope.bank[cost].get("bool", ()) if term.local and not term.partial
        ]

    def _mask(self, term: Term) -> int:
        mask = self._masks.get(id(term))
        if mask is None:
            mask = sum(1 << place for place, value in enumerate(term.values) if value)
            self._masks[id(term)] = mask
        return mask

    def _gives(self, name: str, mask: int, spans: list[int]) -> bool:
        for span, expected in zip(spans, self._goal.values, strict=True):
            kept = mask & span
            if name == "count_if":
                if kept.bit_count() != expected:
                    return False
            elif name == "any":
                if (kept != 0) is not expected:
                    return False
            elif name == "all":
                if (kept == span) is not expected:
                    return False
            elif kept.bit_count() != len(expected):
                return False
        return True

    # ------------------------------------------------------------------ the whole

    def _whole(self, form: Form, source: Term, scope: Scope, body: Term, price: int) -> Term | None:
        """Return the form over the source with the body."""
        inner = element(source.type)
        result = form.result(inner, body.type, source.type) if inner else None
        if result is None:
            return None
        values: list[Value] = []
        for elements, (start, stop) in zip(source.values, scope.spans, strict=True):
            part = body.values[start:stop]
            values.append(UNDEFINED if UNDEFINED in part else form.apply(elements, part, part))
        names = ", ".join(variable.render() for variable in scope.variables)
        partial = UNDEFINED in values
        return Term(
            form,
            (source, body),
            result,
            price + source.cost + body.cost,
            tuple(values),
            partial=partial,
            variables=names,
        )
