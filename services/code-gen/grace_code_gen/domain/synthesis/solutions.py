"""Solutions: what satisfies every example, as an expression or as a function body with an early return."""

from dataclasses import dataclass

from .terms import UNDEFINED, Term
from .types import Value


@dataclass(frozen=True, slots=True)
class Solution:
    """A body whose last term is returned, unless a guard before it holds.

    terms   guard, result, guard, result, …, result
    values  its results in every environment: equal values, equal meaning as far as anyone can tell
    """

    terms: tuple[Term, ...]
    cost: int
    values: tuple[Value, ...]

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
        return cls((guard, then, *otherwise.terms), guard.cost + then.cost + otherwise.cost + price, values)

    def statements(self) -> list[str]:
        """Return the lines of the body."""
        lines: list[str] = []
        *branches, last = self.terms
        for guard, result in zip(branches[::2], branches[1::2], strict=True):
            lines += [f"if {guard.render()}:", f"    return {result.render()}"]
        return [*lines, f"return {last.render()}"]
