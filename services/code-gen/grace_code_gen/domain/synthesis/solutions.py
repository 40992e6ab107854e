"""Solutions: what satisfies every example, as an expression or as a function body with an early return."""

from dataclasses import dataclass

from .terms import UNDEFINED, Term
from .types import Value


@dataclass(frozen=True, slots=True)
class Solution:
    """A body whose last term is returned, unless a guard before it holds.

    terms   guard, result, guard, result, …, result
    values  its results in every environment: equal values, equal meaning as far as anyone can tell
    loop    the lines that stand for the last result where it is no expression
    """

    terms: tuple[Term, ...]
    cost: int
    values: tuple[Value, ...]
    loop: tuple[str, ...] = ()

    @classmethod
    def expression(cls, term: Term) -> "Solution":
        """Return the body that returns the term."""
        return cls((term,), term.cost, term.values)

    @classmethod
    def branching(cls, guard: Term, then: Term, otherwise: "Solution", price: int) -> "Solution":
        """Return the body that returns `then` where the guard holds, else does as `otherwise`."""
        values = tuple(
            UNDEFINED if test is UNDEFINED else (result if test else rest)
            for test, result, rest in zip(guard.values, then.values, otherwise.values, strict=True)
        )
        cost = guard.cost + then.cost + otherwise.cost + price
        return cls((guard, then, *otherwise.terms), cost, values, otherwise.loop)

    def statements(self) -> list[str]:
        """Return the lines of the body."""
        lines: list[str] = []
        branches = self.terms[: -2 if self.loop else -1]  # a loop rests on two terms, an expression is one
        for guard, result in zip(branches[::2], branches[1::2], strict=True):
            lines += [f"if {guard.render()}:", f"    return {result.render()}"]
        return [*lines, *(self.loop or (f"return {self.terms[-1].render()}",))]
