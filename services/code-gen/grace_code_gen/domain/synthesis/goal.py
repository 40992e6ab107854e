"""The goal: which examples a term satisfies, as a bit mask."""

from collections.abc import Sequence

from .terms import UNDEFINED, Term
from .types import Type, Value, freeze, joined, settle, split, type_of


class Goal:
    """The expected results, compared exactly: True is not 1, and 1 is 1.0 only where the function returns floats."""

    def __init__(self, expected: Sequence[object], declared: Type, *, as_tuple: bool = False) -> None:
        inferred = joined(type_of(value) for value in expected)
        self.lenient = "float" in inferred or "float" in declared
        self.type = settle(inferred)
        self.types = [type_of(value) for value in expected]
        self.values: list[Value] = [freeze(value, type_) for value, type_ in zip(expected, self.types, strict=True)]
        self.tuple = as_tuple or declared.startswith("tuple")
        self.full = (1 << len(expected)) - 1
        self._positions: dict[Type, list[tuple[int, Value]]] = {}

    def mask(self, term: Term) -> int:
        """Return a mask with bit i set where the term gives what example i expects."""
        positions = self._positions.get(term.type)
        if positions is None:
            positions = [
                (index, value)
                for index, (type_, value) in enumerate(zip(self.types, self.values, strict=True))
                if self._fits(term.type, type_)
            ]
            self._positions[term.type] = positions
        if not positions:
            return 0
        values, mask = term.values, 0
        if term.type.startswith("dict"):
            for index, value in positions:
                if values[index] is not UNDEFINED and dict(values[index]) == dict(value):
                    mask |= 1 << index
            return mask
        for index, value in positions:
            if values[index] == value:
                mask |= 1 << index
        return mask

    def _fits(self, term_type: Type, expected: Type) -> bool:
        if expected == "?":
            return True
        if term_type == expected or (term_type, expected) == ("char", "str"):
            return True
        if {term_type, expected} == {"int", "float"}:
            return self.lenient
        term_head, term_parameters = split(term_type)
        head, parameters = split(expected)
        if head != term_head or not parameters or len(parameters) != len(term_parameters):
            return False
        return all(self._fits(a, b) for a, b in zip(term_parameters, parameters, strict=True))
