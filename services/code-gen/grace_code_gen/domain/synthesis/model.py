"""What goes into a synthesis and what comes out: examples, a specification, programs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One call of the wanted function; values are what JSON can say, so a list may stand for a tuple."""

    args: tuple[object, ...]
    expected: object


@dataclass(frozen=True, slots=True)
class Specification:
    """The wanted function: its name, its `def` line, the prose around it and the examples it must satisfy."""

    entry_point: str
    signature: str
    requirements: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A formatted function that satisfies every example.

    source  imports and one function, with the requested signature and a docstring
    size    nodes of its expression tree
    cost    bits: the negative base-2 logarithm of its probability under the grammar, penalties included
    """

    source: str
    size: int
    cost: float
