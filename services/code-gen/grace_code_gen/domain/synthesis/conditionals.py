"""Joining terms that are each right on some examples by guards that tell those examples apart (as EUSolver does).

source  Alur, Radhakrishna, Udupa: Scaling Enumerative Program Synthesis via Divide and Conquer, TACAS 2017
"""

from collections.abc import Iterator
from itertools import islice, product

from .goal import Goal
from .solutions import Solution
from .terms import UNDEFINED, Leaf, Term
from .weights import Weights

_KEPT = 4  # terms for the same examples
_GUARDS = 4


class Branches:
    """The terms that satisfy some examples and the predicates that may choose between them."""

    def __init__(self, goal: Goal, weights: Weights) -> None:
        self._goal = goal
        self._weights = weights
        self._terms: dict[int, list[Term]] = {}
        self._guards: dict[int, list[Term]] = {}
        self._tried: set[tuple[int, int, int]] = set()

    def term(self, term: Term, mask: int) -> None:
        """Take a term that is right on the examples of the mask."""
        kept = self._terms.setdefault(mask, [])
        if len(kept) < _KEPT:
            kept.append(term)

    def guard(self, guard: Term) -> None:
        """Take a predicate."""
        mask = 0
        for index in range(self._goal.full.bit_length()):
            value = guard.values[index]
            if value is UNDEFINED:
                return
            if value:
                mask |= 1 << index
        if mask in {0, self._goal.full} or (isinstance(guard.head, Leaf) and guard.constant):
            return
        kept = self._guards.setdefault(mask, [])
        if len(kept) < _GUARDS:
            kept.append(guard)

    def joined(self) -> Iterator[Solution]:
        """Yield what two terms and a guard satisfy: of the cheapest of each, every combination once."""
        full = self._goal.full
        ranked = sorted(((mask, term) for mask, terms in self._terms.items() for term in terms), key=_cost_of_second)
        for truth, guards in self._guards.items():
            falsehood = full & ~truth
            thens = list(islice((term for mask, term in ranked if mask & truth == truth), _KEPT))
            others = list(islice((term for mask, term in ranked if mask & falsehood == falsehood), _KEPT))
            if not thens or not others:
                continue
            price = self._price(truth, falsehood)
            for guard, then, other in product(guards, thens, others):
                key = (id(guard), id(then), id(other))
                if key not in self._tried:
                    self._tried.add(key)
                    yield Solution.branching(guard, then, Solution.expression(other), price)

    def _price(self, truth: int, falsehood: int) -> int:
        price = self._weights.cost("if_statement")
        lone = self._weights.cost("penalty.lone_branch")
        return price + lone * ((truth.bit_count() == 1) + (falsehood.bit_count() == 1))


def _cost_of_second(ranked: tuple[int, Term]) -> int:
    return ranked[1].cost
