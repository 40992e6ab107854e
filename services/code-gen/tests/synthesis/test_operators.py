"""The text of an operator or form computes what its evaluation computes."""

from collections.abc import ItemsView, Iterator
from typing import Any

import pytest
from grace_code_gen.domain.synthesis.inner_functions import TEXTS
from grace_code_gen.domain.synthesis.scope import Budget, Exhausted, Grammar, Scope
from grace_code_gen.domain.synthesis.terms import UNDEFINED, Form, Leaf, Operator, Term
from grace_code_gen.domain.synthesis.types import freeze, type_of
from grace_code_gen.domain.synthesis.weights import default_weights

ROWS: dict[str, list[dict[str, Any]]] = {
    "numbers": [{"v": [3, -1, 2, 3], "k": 2}, {"v": [5, 0], "k": 3}],
    "text": [{"s": "Ab c(d)", "t": "b"}, {"s": "xYz", "t": "Yz"}],
    "words": [{"w": ["pear", "Fig", "x"], "d": {"a": 1, "b": 4}}, {"w": ["one", "one"], "d": {"z": 2}}],
    "floats": [{"x": 2.5, "y": [1.0, -0.5]}, {"x": 4.0, "y": [3.25]}],
}
IMPORTS = "import math, statistics\nfrom collections import Counter\nfrom itertools import *\n"


def enumerated(rows: list[dict[str, Any]], cost: int) -> Iterator[Term]:
    """Every term up to a cost over some rows, with all productions about as dear as each other."""
    looks = iter(range(10**9))
    weights = default_weights()
    costs = {name: 1 + bits // 6 for name, bits in weights.costs.items()}
    flat = type(weights)(costs=costs, default=2, hints=())
    grammar = Grammar(flat, Budget(lambda: next(looks), 80, 3_000_000))
    variables = []
    for name in rows[0]:
        type_ = type_of(rows[0][name])
        variables.append(Term(Leaf(name), (), type_, 1, tuple(freeze(row[name], type_) for row in rows)))
    scope = Scope(grammar, len(rows), variables, taken="".join(rows[0]))
    for literal in (1, 2):
        scope.leaves[1].append(Term(Leaf(str(literal)), (), "int", 1, (literal,) * len(rows), constant=True))
    try:
        scope.advance(cost)
    except Exhausted:
        yield from (term for terms in scope.filling.values() for term in terms)
    for level in scope.bank:
        for terms in level.values():
            yield from terms


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(([plain(key), plain(item)] for key, item in value.items()), key=repr)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, list | tuple | range | ItemsView) or hasattr(value, "__next__"):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize("kind", ROWS)
def test_text_and_evaluation_agree(kind: str) -> None:
    rows = ROWS[kind]
    namespace: dict[str, Any] = {}
    exec(IMPORTS + "\n".join(TEXTS.values()), namespace)
    compared: set[str] = set()
    for term in enumerated(rows, 6):
        if "dict[" in term.type[1:]:
            continue  # a frozen dict within another value does not say that it is one
        for row, value in zip(rows, term.values, strict=True):
            if value is UNDEFINED:
                continue
            result = plain(eval(term.render(), {**namespace, **row}))
            expected = plain(dict(value)) if term.type.startswith("dict") else plain(value)
            assert result == expected, term.render()
            assert type(result) is type(expected), term.render()
        if isinstance(term.head, Operator | Form):
            compared.add(term.head.name)
    assert len(compared) > 30
