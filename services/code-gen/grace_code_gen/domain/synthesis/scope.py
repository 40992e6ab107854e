"""Scopes: a set of variables in a set of environments, and the bank of terms enumerated over them, cheapest first.

The outermost scope has one environment per example and per probe. A term that can be iterated over opens an inner
scope, with one environment per element; what is enumerated there becomes the body or the predicate of a form in the
scope around it, evaluated for all examples at once. Two terms with equal values in every environment are one: the
first, and therefore cheapest, stands for both.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from .forms import FORMS
from .operators import OPERATORS
from .terms import FAILURES, UNDEFINED, Form, Leaf, Operator, Term
from .types import Type, Value, depth, element, match, split, substitute
from .weights import Weights

_DEEPEST: Final = 2  # scopes within scopes
_DEAREST_SOURCE: Final = 9  # bits a term may cost to be iterated over
_SCALARS: Final = frozenset({"int", "float", "bool", "char"})
_SAMPLED: Final = 8  # values of a term that are looked at to judge its size
_HASHING: Final = frozenset({"set", "unique", "counts", "dict_zip", "get", "get_or", "has_key"})
_MOST_ALTERNATIVES: Final = 20_000
_LIFTED: Final = 4  # bits an outer term may cost to be used in an inner scope
_TICKS_PER_LOOK: Final = 2_000  # values computed between two looks at the clock
_CELLS_PER_TERM: Final = 40  # what a term weighs besides its values, in pointers
_NAMES: Final = {"int": "xnmk", "float": "xyz", "char": "cdch", "str": "swt", "bool": "bpq"}


class Exhausted(Exception):
    """The budget of time or memory is spent."""


@dataclass(slots=True)
class Budget:
    """How much longer the enumeration may go on.

    clock     seconds of CPU time
    deadline  reading of the clock at which to stop
    cells     memory that may still be taken, in pointers
    """

    clock: Callable[[], float]
    deadline: float
    cells: int
    _ticks: int = field(default=0)

    def spend(self, cells: int) -> None:
        """Account for a kept term; raise Exhausted when too many are kept."""
        self.cells -= cells + _CELLS_PER_TERM
        if self.cells < 0:
            raise Exhausted

    def tick(self, values: int) -> None:
        """Account for the evaluation of a term; raise Exhausted when a look at the clock says that the time is up."""
        self._ticks += values + 4
        if self._ticks > _TICKS_PER_LOOK:
            self._ticks = 0
            if self.clock() > self.deadline:
                raise Exhausted


@dataclass(slots=True)
class Grammar:
    """What the scopes of one synthesis share.

    environments  most environments that a scope may have
    """

    weights: Weights
    budget: Budget
    environments: int = 400
    operators: list[tuple[int, Operator]] = field(default_factory=list)
    forms: list[tuple[int, Form]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.operators = sorted(((self.weights.cost(op.name), op) for op in OPERATORS), key=lambda pair: pair[0])
        self.forms = sorted(((self.weights.cost(form.name), form) for form in FORMS), key=lambda pair: pair[0])


def _resolve(operator: Operator, types: Sequence[Type], bound: tuple[tuple[str, Type], ...]) -> Type | None:
    """Return the type of the application, or None where the operands do not go together."""
    result = operator.result
    if result == "num":
        scalars = [split(type_)[1][0] if "[" in type_ else type_ for type_ in types]
        return "float" if "float" in scalars else "int"
    if result == "ordered":
        scalars = [split(type_)[1][0] if "[" in type_ else type_ for type_ in types]
        return scalars[0] if len(set(scalars)) == 1 else None
    if result == "0" or result in {"list[num]", "list[ordered]"}:
        return types[0]
    if result == "tuple[0,1]":
        return f"tuple[{types[0]},{types[1]}]"
    if (
        operator.name in {"less", "at_most", "between"}
        and len({"num" if t in {"int", "float"} else t for t in types}) > 1
    ):
        return None
    if operator.name in _HASHING and any("[" in type_ and not type_.startswith("tuple") for _, type_ in bound):
        return None
    resolved = substitute(result, bound) if bound else result
    return resolved if depth(resolved) <= 2 else None


class Scope:
    """The bank of one set of environments."""

    def __init__(
        self,
        grammar: Grammar,
        size: int,
        variables: list[Term],
        *,
        level: int = 0,
        outer: "Scope | None" = None,
        spans: tuple[tuple[int, int], ...] = (),
        taken: str = "",
    ) -> None:
        self.grammar = grammar
        self.size = size
        self.level = level
        self.outer = outer
        self.spans = spans
        self.taken = taken
        self.variables = variables
        self.leaves: dict[int, list[Term]] = defaultdict(list)
        self.bank: list[dict[Type, list[Term]]] = [{}]
        self.seen: dict[Type, set[tuple[Value, ...]]] = defaultdict(set)
        self.sources: list[tuple[Term, Scope]] = []
        self._unopened: list[Term] = []
        self.watched: set[tuple[Value, ...]] = set()  # values of which every term is wanted, not the cheapest alone
        self.alternatives: list[Term] = []
        self._shapes: dict[tuple[str, tuple[Type, ...]], Type | None] = {}
        self.filling: dict[Type, list[Term]] = {}
        for variable in variables:
            self.leaves[variable.cost].append(variable)

    # ------------------------------------------------------------------ levels

    def advance(self, cost: int) -> None:
        """Enumerate every term up to the given cost."""
        while len(self.bank) <= cost:
            self._fill(len(self.bank))

    def _fill(self, cost: int) -> None:
        self.filling = {}
        for leaf in self.leaves.get(cost, ()):
            self._keep(leaf)
        if self.outer is not None:
            self._lift(cost)
        for price, operator in self.grammar.operators:
            if price >= cost:
                break
            rest = cost - price
            if len(operator.params) == 1:
                self._apply_one(operator, cost, rest)
            elif len(operator.params) == 2:
                self._apply_two(operator, cost, rest)
            else:
                self._apply_three(operator, cost, rest)
        self._bind(cost)
        self.bank.append(self.filling)
        if self.level < _DEEPEST and cost <= _DEAREST_SOURCE:
            for type_, terms in self.filling.items():
                if element(type_) is not None:
                    self._unopened.extend(terms)

    def at(self, cost: int) -> dict[Type, list[Term]]:
        """Return the terms of exactly the given cost, by type."""
        return self.bank[cost] if cost < len(self.bank) else {}

    def _keep(self, term: Term) -> None:
        """Keep a term unless an equal one is there."""
        seen = self.seen[term.type]
        if term.values in seen:
            if term.values in self.watched and len(self.alternatives) < _MOST_ALTERNATIVES:
                self.alternatives.append(term)
            return
        seen.add(term.values)
        self.grammar.budget.spend(_cells(term))
        self.filling.setdefault(term.type, []).append(term)

    def _lift(self, cost: int) -> None:
        """Take over the cheap terms of the scope around, which do not change from element to element."""
        assert self.outer is not None
        if not 2 <= cost <= _LIFTED + 1:
            return
        self.outer.advance(cost - 1)
        for type_, terms in self.outer.at(cost - 1).items():
            if split(type_)[0] in {"pairs", "range"}:
                continue
            for term in terms:
                if term.partial:
                    continue
                values = tuple(
                    value
                    for value, (start, stop) in zip(term.values, self.spans, strict=True)
                    for _ in range(stop - start)
                )
                lifted = Term(
                    term.head,
                    term.kids,
                    type_,
                    cost,
                    values,
                    local=False,
                    constant=term.constant,
                    variables=term.variables,
                )
                self._keep(lifted)

    # ------------------------------------------------------------------ operators

    def _shape(self, operator: Operator, types: tuple[Type, ...]) -> Type | None:
        key = (operator.name, types)
        if key in self._shapes:
            return self._shapes[key]
        bound: dict[str, Type] = {}
        result: Type | None = ""
        for pattern, type_ in zip(operator.params, types, strict=True):
            matched = match(pattern, type_)
            if matched is None or any(bound.setdefault(name, value) != value for name, value in matched):
                result = None
                break
        if result is not None:
            result = _resolve(operator, types, tuple(bound.items()))
        self._shapes[key] = result
        return result

    def _useful(self, kids: tuple[Term, ...]) -> bool:
        if self.outer is None:
            return not all(kid.constant for kid in kids)
        return any(kid.local for kid in kids)

    def _apply_one(self, operator: Operator, cost: int, rest: int) -> None:
        apply = operator.apply
        for type_, terms in self.bank[rest].items():
            result = self._shape(operator, (type_,))
            if result is None:
                continue
            for term in terms:
                if term.constant or not (term.local or self.outer is None):
                    continue
                self.grammar.budget.tick(self.size)
                partial = term.partial
                try:
                    if partial:
                        raise ValueError
                    values = tuple(map(apply, term.values))
                except FAILURES:
                    slowly = self._slowly(operator, (term,))
                    if slowly is None:
                        continue
                    values, partial = slowly, UNDEFINED in slowly
                if values not in self.seen[result] or values in self.watched:
                    self._keep(Term(operator, (term,), result, cost, values, partial=partial))

    def _apply_two(self, operator: Operator, cost: int, rest: int) -> None:
        apply = operator.apply
        seen = self.seen
        tick = self.grammar.budget.tick
        outermost = self.outer is None
        for left_cost in range(1, rest):
            right_cost = rest - left_cost
            if operator.swaps and left_cost < right_cost:
                continue
            for left_type, lefts in self.bank[left_cost].items():
                if match(operator.params[0], left_type) is None:
                    continue
                for right_type, rights in self.bank[right_cost].items():
                    result = self._shape(operator, (left_type, right_type))
                    if result is None:
                        continue
                    known = seen[result]
                    for left in lefts:
                        for right in rights:
                            if outermost:
                                if left.constant and right.constant:
                                    continue
                            elif not (left.local or right.local):
                                continue
                            tick(self.size)
                            partial = left.partial or right.partial
                            try:
                                if partial:
                                    raise ValueError
                                values = tuple(map(apply, left.values, right.values))
                            except FAILURES:
                                slowly = self._slowly(operator, (left, right))
                                if slowly is None:
                                    continue
                                values, partial = slowly, UNDEFINED in slowly
                            if values not in known or values in self.watched:
                                kids = (right, left) if operator.swaps and left.constant else (left, right)
                                self._keep(Term(operator, kids, result, cost, values, partial=partial))

    def _apply_three(self, operator: Operator, cost: int, rest: int) -> None:
        for costs in ((a, b, rest - a - b) for a in range(1, rest - 1) for b in range(1, rest - a)):
            for kids, result in self._triples(operator, costs):
                if not self._useful(kids):
                    continue
                self.grammar.budget.tick(self.size)
                partial = any(kid.partial for kid in kids)
                try:
                    if partial:
                        raise ValueError
                    values = tuple(map(operator.apply, *(kid.values for kid in kids)))
                except FAILURES:
                    slowly = self._slowly(operator, kids)
                    if slowly is None:
                        continue
                    values, partial = slowly, UNDEFINED in slowly
                if values not in self.seen[result] or values in self.watched:
                    self._keep(Term(operator, kids, result, cost, values, partial=partial))

    def _triples(self, operator: Operator, costs: tuple[int, int, int]) -> Iterator[tuple[tuple[Term, ...], Type]]:
        first, second, third = (self.bank[cost] for cost in costs)
        for a_type, a_terms in first.items():
            if match(operator.params[0], a_type) is None:
                continue
            for b_type, b_terms in second.items():
                if match(operator.params[1], b_type) is None:
                    continue
                for c_type, c_terms in third.items():
                    result = self._shape(operator, (a_type, b_type, c_type))
                    if result is None:
                        continue
                    for a in a_terms:
                        for b in b_terms:
                            for c in c_terms:
                                yield (a, b, c), result

    def _slowly(self, operator: Operator, kids: tuple[Term, ...]) -> tuple[Value, ...] | None:
        """Return the values one by one, UNDEFINED where evaluation fails; None where it fails everywhere."""
        values: list[Value] = []
        name, apply = operator.name, operator.apply
        for operands in zip(*(kid.values for kid in kids), strict=True):
            if UNDEFINED in operands:
                values.append(_despite_undefined(name, operands))
                continue
            try:
                values.append(apply(*operands))
            except FAILURES:
                values.append(UNDEFINED)
        return None if all(value is UNDEFINED for value in values) else tuple(values)

    # ------------------------------------------------------------------ forms

    def _open(self, source: Term) -> None:
        """Open the scope of a source's elements."""
        inner_type = element(source.type)
        if inner_type is None or source.constant or source.type.startswith("set"):
            return  # the order of a set is nothing to build on
        if self.outer is not None and not source.local:
            return
        if None in source.values:  # a form's stated default
            return
        if sum(len(value) for value in source.values if value is not UNDEFINED) > self.grammar.environments:
            return
        elements: list[Value] = []
        spans: list[tuple[int, int]] = []
        for value in source.values:
            start = len(elements)
            if value is not UNDEFINED:
                elements.extend(value)
            spans.append((start, len(elements)))
        if not elements:
            return
        parts = split(source.type)[1] if source.type.startswith("pairs") else (inner_type,)
        taken = self.taken
        names: list[str] = []
        for part in parts:
            names.append(next(name for name in (*_NAMES.get(part, "uvxyz"), *"abefghjopqrvyz") if name not in taken))
            taken += names[-1]
        columns = list(zip(*elements, strict=True)) if len(parts) > 1 else [tuple(elements)]
        variables = [
            Term(Leaf(name), (), part, 1, column) for name, part, column in zip(names, parts, columns, strict=True)
        ]
        scope = Scope(
            self.grammar, len(elements), variables, level=self.level + 1, outer=self, spans=tuple(spans), taken=taken
        )
        for cost, leaves in self.leaves.items():
            for leaf in leaves:
                if leaf.constant:
                    scope.leaves[cost].append(
                        Term(
                            leaf.head,
                            (),
                            leaf.type,
                            cost,
                            (leaf.values[0],) * len(elements),
                            local=False,
                            constant=True,
                        )
                    )
        self.sources.append((source, scope))

    def _bind(self, cost: int) -> None:
        """Build the forms of the given cost."""
        affordable = cost - self.grammar.forms[0][0] - 1
        while self._unopened and self._unopened[0].cost <= affordable:
            self._open(self._unopened.pop(0))
        for source, scope in self.sources:
            for price, form in self.grammar.forms:
                rest = cost - price - source.cost
                if rest < 1:
                    break
                if form.kind == "filtered":
                    if rest >= 2:
                        scope.advance(rest - 1)
                        self._bind_two(form, source, scope, cost, rest)
                    continue
                scope.advance(rest)
                for type_, bodies in scope.bank[rest].items():
                    result = self._form_type(form, source, type_)
                    if result is None:
                        continue
                    for body in bodies:
                        if body.local if form.name != "map_words" else body.kids:
                            self._make(form, source, scope, (body,), result, cost)

    def _bind_two(self, form: Form, source: Term, scope: "Scope", cost: int, rest: int) -> None:
        for test_cost in range(1, rest):
            tests = scope.bank[test_cost].get("bool", ())
            for type_, bodies in scope.bank[rest - test_cost].items() if tests else ():
                result = self._form_type(form, source, type_)
                if result is None:
                    continue
                for body in bodies:
                    for test in tests:
                        if (
                            test.local
                            and not test.partial
                            and not body.constant
                            and (body.local or form.name == "map_where")
                        ):
                            self._make(form, source, scope, (body, test), result, cost)

    def _form_type(self, form: Form, source: Term, body_type: Type) -> Type | None:
        if form.kind == "test" and body_type != "bool":
            return None
        inner = element(source.type)
        return None if inner is None else form.result(inner, body_type, source.type)

    def _make(self, form: Form, source: Term, scope: "Scope", parts: tuple[Term, ...], result: Type, cost: int) -> None:
        self.grammar.budget.tick(self.size)
        if any(part.partial for part in parts) and form.kind == "test":
            return
        body = parts[0].values if form.kind != "test" else None
        test = parts[-1].values if form.kind != "map" else None
        apply = form.apply
        values: list[Value] = []
        partial = False
        for elements, (start, stop) in zip(source.values, scope.spans, strict=True):
            if elements is UNDEFINED:
                values.append(UNDEFINED)
                partial = True
                continue
            try:
                segment = body[start:stop] if body is not None else ()
                kept = test[start:stop] if test is not None else ()
                if parts[0].partial and UNDEFINED in (
                    segment if form.kind == "map" else [b for b, keep in zip(segment, kept, strict=True) if keep]
                ):
                    raise ValueError
                values.append(apply(elements, segment, kept))
            except FAILURES:
                values.append(UNDEFINED)
                partial = True
        frozen = tuple(values)
        if partial and all(value is UNDEFINED for value in frozen):
            return
        if frozen not in self.seen[result] or frozen in self.watched:
            names = ", ".join(variable.render() for variable in scope.variables)
            self._keep(Term(form, (source, *parts), result, cost, frozen, partial=partial, variables=names))


def _cells(term: Term) -> int:
    """Return how much memory the term's values take, in pointers, judged by the first few of them."""
    values = term.values
    if term.type in _SCALARS:
        return 3 * len(values)
    sample = values[:_SAMPLED]
    held = sum(8 + (len(v) >> 3) if isinstance(v, str) else 8 + len(v) if isinstance(v, tuple) else 4 for v in sample)
    return held * len(values) // len(sample)


def _despite_undefined(name: str, operands: tuple[Value, ...]) -> Value:
    """Return what Python's short-circuit operators give although an operand that they may not reach is undefined."""
    if name == "and" and operands[0] is False:
        return False
    if name == "or" and operands[0] is True:
        return True
    if name == "if_else" and operands[1] is not UNDEFINED:
        return operands[0] if operands[1] else operands[2]
    return UNDEFINED
