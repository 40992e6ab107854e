"""The search: from a specification to programs that satisfy its examples, simplest first."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from grace_common.contract.errors import Refused

from .conditionals import Branches
from .elementwise import Elementwise
from .forms import forms_with_default
from .goal import Goal
from .hints import (
    StatedCase,
    constant,
    constant_type,
    fallbacks,
    literals,
    outcomes,
    request_text,
    stated_cases,
    written,
)
from .model import Program, Specification
from .probes import probes
from .recurrences import recurrences
from .rendering import function_source
from .scope import Budget, Exhausted, Grammar, Scope
from .solutions import Solution
from .terms import FAILURES, UNDEFINED, Form, Leaf, Operator, Term
from .types import Type, Value, annotated, freeze, join, joined, settle, type_of
from .weights import Hint, Weights

PROBES = 6  # more tell more programs apart, and slow every term down
HIGHEST_COST = 40
CELLS = 60_000_000  # pointers in all scopes: about 800 MB with what Python adds


@dataclass(frozen=True, slots=True)
class _Parameters:
    names: tuple[str, ...]
    types: tuple[Type, ...]
    returns: Type


def _parameters(spec: Specification) -> _Parameters:
    """Return names and types of the parameters: the annotations as far as the examples do not say."""
    try:
        parsed = ast.parse(f"{spec.signature.strip()}\n    pass")
    except SyntaxError as error:
        raise Refused(f"the signature is no Python `def` line: {spec.signature!r} ({error.msg})") from error
    function = parsed.body[0] if parsed.body else None
    if not isinstance(function, ast.FunctionDef):
        raise Refused(f"the signature is no Python `def` line: {spec.signature!r}")
    if function.name != spec.entry_point:
        raise Refused(f"the signature defines {function.name!r}, the entry point is {spec.entry_point!r}")
    arguments = [*function.args.posonlyargs, *function.args.args]
    for example in spec.examples:
        if len(example.args) != len(arguments):
            raise Refused(f"an example has {len(example.args)} arguments, the signature {len(arguments)}")
    types = []
    for position, argument in enumerate(arguments):
        seen = joined(type_of(example.args[position]) for example in spec.examples)
        stated = annotated(argument.annotation)
        if seen.startswith("list") and stated.startswith("tuple"):
            seen = settle(stated)
        types.append(settle(join(seen, stated) if "any" not in join(seen, stated) else seen))
    return _Parameters(tuple(argument.arg for argument in arguments), tuple(types), annotated(function.returns))


def synthesise(
    spec: Specification,
    weights: Weights,
    *,
    cpu_seconds: float,
    max_programs: int = 8,
    clock: Callable[[], float],
    hints: frozenset[str] = frozenset(),
) -> Iterator[Program]:
    """Yield programs that satisfy every example and differ on other inputs, simplest first.

    weights      the grammar's weights, as data
    cpu_seconds  budget; what was found when it is spent is yielded still
    clock        seconds of CPU time
    hints        names of hints of the weights that hold whatever the request says
    raises       Refused when the signature and the examples do not go together
    """
    if not spec.examples:
        raise Refused("the synthesis needs at least one example")
    deadline = clock() + cpu_seconds
    search = _Search(spec, weights, Budget(clock, deadline, CELLS), hints)
    yield from search.programs(max_programs)


class _Search:
    def __init__(self, spec: Specification, weights: Weights, budget: Budget, named: frozenset[str]) -> None:
        self.spec = spec
        self.parameters = _parameters(spec)
        request = request_text(spec.requirements, spec.entry_point)
        self.weights, self.spoken = weights.informed_by(request, named)
        expected = [example.expected for example in spec.examples]
        declared = self.parameters.returns
        if "tuple" in spec.requirements.lower() and declared == "?":
            declared = "tuple"
        self.goal = Goal(expected, declared)
        inputs = [
            tuple(freeze(value, type_) for value, type_ in zip(example.args, self.parameters.types, strict=True))
            for example in spec.examples
        ]
        self.examples = len(inputs)
        environments = [*inputs, *probes(inputs, self.parameters.types, PROBES)] if self.parameters.names else inputs
        self.environments = environments
        self.top = self._top_scope(environments, budget)
        self.stated = [
            pair for pair in map(self._stated, stated_cases(spec.requirements, self.parameters.names)) if pair
        ]
        self.branches = Branches(self.goal, self.weights)
        self.elementwise = Elementwise(self.goal, self.top)
        self._queue: list[tuple[int, int, Solution]] = []
        self._known: dict[tuple[Value, ...], int] = {}
        self._yielded: set[tuple[Value, ...]] = set()
        self._order = 0

    def _top_scope(self, environments: list[tuple[Value, ...]], budget: Budget) -> Scope:
        columns = list(zip(*environments, strict=True))
        variables = [
            Term(Leaf(name, parameter=True), (), type_, 1, tuple(column))
            for name, type_, column in zip(self.parameters.names, self.parameters.types, columns, strict=True)
        ]
        taken = "".join(name for name in self.parameters.names if len(name) == 1)
        grammar = Grammar(self.weights, budget)
        for literal in fallbacks(self.spec.requirements):
            value = constant(literal)[2]
            grammar.forms += [(self.weights.cost(form.name), form) for form in forms_with_default(literal, value)]
        grammar.forms.sort(key=lambda pair: pair[0])
        scope = Scope(grammar, len(environments), variables, taken=taken)
        for text, type_, value, cost in self._constants():
            leaf = Term(Leaf(text), (), type_, cost, (value,) * len(environments), constant=True)
            scope.leaves[cost].append(leaf)
        return scope

    def _constants(self) -> list[tuple[str, Type, Value, int]]:
        chosen: dict[str, tuple[Type, Value, int]] = {}

        def add(text: str, type_: Type, value: Value, cost: int) -> None:
            if text not in chosen or chosen[text][2] > cost:
                chosen[text] = (type_, value, cost)

        weights = self.weights
        for literal, kind in (
            ("0", "common"),
            ("1", "common"),
            ("2", "occasional"),
            ("-1", "occasional"),
            ("3", "rare"),
            ("4", "rare"),
            ("10", "rare"),
        ):
            add(*constant(literal), weights.cost(f"constant.{kind}"))
        if "str" in " ".join((*self.parameters.types, self.goal.type)):
            for literal in ('""', '" "'):
                add(*constant(literal), weights.cost("constant.rare"))
        for hint in self.spoken:
            for literal in hint.constants:
                add(*constant(literal), weights.cost("constant.hint"))
        self.request_constants = set()
        for value in literals(self.spec.requirements):
            type_ = constant_type(value)
            add(written(value), type_, value, weights.cost("constant.request"))
            self.request_constants.add(written(value))
        for literal in fallbacks(self.spec.requirements):
            if literal not in {"[]", "{}"}:
                add(*constant(literal), weights.cost("constant.outcome"))
        for value in outcomes((example.expected for example in self.spec.examples), self.spec.requirements):
            add(written(value), constant_type(value), value, weights.cost("constant.outcome"))
        if set(self.goal.types) & {"bool"}:
            add("True", "bool", True, weights.cost("constant.common"))
            add("False", "bool", False, weights.cost("constant.common"))
        if any(value == [] for value in (example.expected for example in self.spec.examples)):
            add("[]", settle(self.goal.type) if self.goal.type.startswith("list") else "list[int]", (), 2)
        return [(text, *rest) for text, rest in chosen.items()]

    def _stated(self, case: StatedCase) -> tuple[Term, Term] | None:
        """Return guard and result of a case that the prose states, where they can be said of the parameters."""
        variables = {variable.render(): variable for variable in self.top.variables}
        size = self.top.size
        operators = {operator.name: operator for _, operator in self.top.grammar.operators}
        if case.guard[0] == "<":
            kids = tuple(variables[name] for name in case.guard[1:])
            operator = operators["less"]
        else:
            sequences = [variable for variable in self.top.variables if variable.type.startswith(("list", "str"))]
            if not sequences:
                return None
            kids = (sequences[0],)
            operator = operators["is_empty" if kids[0].type.startswith("list") else "is_empty_text"]
        try:
            values = tuple(operator.apply(*operands) for operands in zip(*(kid.values for kid in kids), strict=True))
        except FAILURES:
            return None
        text, type_, value = constant(case.literal)
        guard = Term(operator, kids, "bool", 1, values)
        return guard, Term(Leaf(text), (), type_, 1, (value,) * size, constant=True)

    def _recur(self) -> None:
        """Offer the recurrences that give the expected values."""
        if self.parameters.types != ("int",) or any(type_ != "int" for type_ in self.goal.types):
            return
        numbers = [environment[0] for environment in self.environments]
        price = self.weights.cost("recurrence")
        found = recurrences(self.top.grammar, self.parameters.names[0], numbers[: self.examples], self.goal.values)
        try:
            for recurrence, cost, run in found:
                values = tuple(recurrence.value(number, run) for number in numbers)
                terms = (recurrence.step, self.top.variables[0])
                self._offer(Solution(terms[::-1], cost + price, values, tuple(recurrence.statements())))
        except Exhausted:
            return

    def programs(self, limit: int) -> Iterator[Program]:
        """Yield the programs."""
        patience = self.weights.cost("patience")
        first: int | None = None
        count = 0
        exhausted = False
        cost = 1
        self._recur()
        while not exhausted and cost <= HIGHEST_COST:
            try:
                self.top.advance(cost)
                self._infer(cost)
            except (Exhausted, MemoryError):
                exhausted = True
            self._gather(self.top.at(cost) or self.top.filling, cost)
            while self._queue and (exhausted or self._queue[0][0] <= cost):
                solution = self._next()
                if solution is None:
                    break
                yield self._program(solution)
                count += 1
                first = cost if first is None else first
                if count == limit:
                    return
            if first is not None and cost > first + patience:
                exhausted = True
                continue
            cost += 1
        while count < limit and (solution := self._next()) is not None:
            yield self._program(solution)
            count += 1

    def _infer(self, cost: int) -> None:
        """Offer what follows from single elements."""
        for term in self.elementwise.terms(cost):
            if self.goal.mask(term) == self.goal.full:
                self._offer(Solution.expression(term))

    def _gather(self, level: dict[Type, list[Term]], cost: int) -> None:
        for terms in level.values():
            for term in terms:
                mask = self.goal.mask(term)
                if mask == self.goal.full:
                    self.top.watched.add(term.values)
                    self._offer(Solution.expression(term))
                elif mask:
                    self.branches.term(term, mask)
        for term in self.top.alternatives:
            if self.goal.mask(term) == self.goal.full:
                self._offer(Solution.expression(term))
        self.top.alternatives.clear()
        if cost == 1:
            for guard, result in self.stated:
                self.branches.guard(guard)
                mask = self.goal.mask(result)
                if mask:
                    self.branches.term(result, mask)
        for guard in level.get("bool", ()):
            self.branches.guard(guard)
        for solution in self.branches.joined():
            self._offer(solution)

    def _offer(self, solution: Solution) -> None:
        """Queue a solution, behind the cases that the prose states where the examples do not show them."""
        for guard, result in self.stated:
            shown = any(guard.values[: self.examples])
            if not shown and not self._provides(solution, result):
                solution = Solution.branching(guard, result, solution, 0)
        cost = solution.cost + self._penalty(solution)
        if solution.values in self._known and self._known[solution.values] <= cost:
            return
        self._known[solution.values] = cost
        self._order += 1
        heappush(self._queue, (cost, self._order, solution))

    def _next(self) -> Solution | None:
        """Take the cheapest solution from the queue that means something new."""
        while self._queue:
            _, _, solution = heappop(self._queue)
            if solution.values not in self._yielded:
                self._yielded.add(solution.values)
                return solution
        return None

    @staticmethod
    def _provides(solution: Solution, result: Term) -> bool:
        """Say whether the solution returns the stated result already, as a constant or as a form's default."""
        nodes = [node for term in solution.terms for node in term.nodes()]
        literal = result.render()
        return any(
            node.head.text == literal if isinstance(node.head, Leaf) else node.head.name.endswith("_or")
            for node in nodes
        )

    def _penalty(self, solution: Solution) -> int:
        """Return the bits by which a program is less credible than its productions say."""
        nodes = [node for term in solution.terms for node in term.nodes()]
        used = {node.head.name for node in nodes if isinstance(node.head, Operator | Form)}
        leaves = {node.head.text for node in nodes if isinstance(node.head, Leaf)}
        penalty = sum(
            self.weights.cost("penalty.unused_argument") for name in self.parameters.names if name not in leaves
        )
        for hint in self.spoken:
            if hint.expects and not self._follows(hint, used, leaves):
                penalty += hint.expects
        penalty += self.weights.cost("penalty.undefined") * solution.values.count(UNDEFINED)
        unused = self.request_constants - leaves
        return penalty + self.weights.cost("penalty.request_constant") * min(len(unused), 3)

    @staticmethod
    def _follows(hint: Hint, used: set[str], leaves: set[str]) -> bool:
        """Say whether a program uses what the hint is about: a production it boosts at least half as much as any."""
        most = max(hint.boosts.values(), default=0)
        meant = {production for production, bits in hint.boosts.items() if 2 * bits >= most}
        return not used.isdisjoint(meant) or any(constant(literal)[0] in leaves for literal in hint.constants)

    def _program(self, solution: Solution) -> Program:
        source = function_source(self.spec.signature, self.spec.requirements, solution.statements(), solution.terms)
        size = sum(1 for term in solution.terms for _ in term.nodes())
        return Program(source=source, size=size, cost=float(solution.cost + self._penalty(solution)))
