"""The forms of the language: comprehensions, generator expressions and calls with a key function."""

import math
from itertools import compress, takewhile
from typing import Final

from .terms import Form
from .types import Type, Value, depth, split

_LETTERS: Final = frozenset({"str", "char"})
_NUMERIC: Final = frozenset({"int", "float"})
_ORDERED: Final = _LETTERS | _NUMERIC


def _truth(element: Type, body: Type, source: Type) -> Type | None:
    return "bool"


def _whole(element: Type, body: Type, source: Type) -> Type | None:
    return "int"


def _filtered(element: Type, body: Type, source: Type) -> Type | None:
    return f"list[{element}]" if split(source)[0] in {"list", "set", "range", "str"} else None


def _filtered_text(element: Type, body: Type, source: Type) -> Type | None:
    return "str" if element == "char" else None


def _element(element: Type, body: Type, source: Type) -> Type | None:
    return element if split(source)[0] != "pairs" else None


def _mapped(element: Type, body: Type, source: Type) -> Type | None:
    return f"list[{body}]" if depth(body) < 2 and not body.startswith(("pairs", "range")) else None


def _joined(element: Type, body: Type, source: Type) -> Type | None:
    return "str" if body in _LETTERS else None


def _summed(element: Type, body: Type, source: Type) -> Type | None:
    return body if body in _NUMERIC else None


def _extreme(element: Type, body: Type, source: Type) -> Type | None:
    return body if body in _ORDERED else None


def _as_set(element: Type, body: Type, source: Type) -> Type | None:
    return f"set[{body}]" if body in _ORDERED else None


def _keyed(element: Type, body: Type, source: Type) -> Type | None:
    sortable = body in _ORDERED or body == "bool" or (body.startswith("tuple") and depth(body) == 1)
    return element if sortable and split(source)[0] in {"list", "set", "str", "range"} else None


def _sorted_by(element: Type, body: Type, source: Type) -> Type | None:
    return f"list[{element}]" if _keyed(element, body, source) and split(source)[0] in {"list", "set", "str"} else None


def _dictionary(element: Type, body: Type, source: Type) -> Type | None:
    if split(source)[0] == "pairs" or depth(element) or depth(body) > 1 or body.startswith(("pairs", "range")):
        return None
    return f"dict[{element},{body}]"


def _items_dictionary(element: Type, body: Type, source: Type) -> Type | None:
    head, parameters = split(source)
    return (
        f"dict[{','.join(parameters)}]"
        if head == "pairs" and len(parameters) == 2 and not depth(parameters[0])
        else None
    )


def _sum(elements: Value, body: Value, kept: Value) -> Value:
    return sum(body)


def _by(elements: Value, body: Value) -> list[Value]:
    order = sorted(range(len(elements)), key=body.__getitem__)
    return [elements[position] for position in order]


def _best(elements: Value, body: Value, largest: bool) -> Value:
    pick = max if largest else min
    return elements[pick(range(len(body)), key=body.__getitem__)]


def _product(elements: Value, body: Value, kept: Value) -> Value:
    product = math.prod(body)
    if isinstance(product, int) and product.bit_length() > 256:
        raise OverflowError("too large to evaluate")
    return product


def _distinct(elements: Value, body: Value) -> Value:
    return tuple(dict(zip(elements, body, strict=True)).items())


def _descending(elements: Value, body: Value) -> tuple[Value, ...]:
    order = sorted(range(len(elements)), key=body.__getitem__, reverse=True)  # stable, as sorted(..., reverse=True) is
    return tuple(elements[position] for position in order)


_TESTS: Final = (
    Form("all", "test", _truth, lambda e, b, p: all(p), "all({p} for {v} in {s})"),
    Form("any", "test", _truth, lambda e, b, p: any(p), "any({p} for {v} in {s})"),
    Form("count_if", "test", _whole, lambda e, b, p: sum(p), "sum(1 for {v} in {s} if {p})"),
    Form("filter", "test", _filtered, lambda e, b, p: tuple(compress(e, p)), "[{v} for {v} in {s} if {p}]"),
    Form(
        "filter_text",
        "test",
        _filtered_text,
        lambda e, b, p: "".join(compress(e, p)),
        '"".join({v} for {v} in {s} if {p})',
    ),
    Form("first_where", "test", _element, lambda e, b, p: next(compress(e, p)), "next({v} for {v} in {s} if {p})"),
    Form(
        "maximum_where",
        "test",
        lambda e, b, s: _extreme(e, e, s),
        lambda e, b, p: max(compress(e, p)),
        "max({v} for {v} in {s} if {p})",
    ),
    Form(
        "minimum_where",
        "test",
        lambda e, b, s: _extreme(e, e, s),
        lambda e, b, p: min(compress(e, p)),
        "min({v} for {v} in {s} if {p})",
    ),
    Form(
        "sum_where",
        "test",
        lambda e, b, s: _summed(e, e, s),
        lambda e, b, p: sum(compress(e, p)),
        "sum({v} for {v} in {s} if {p})",
    ),
    Form(
        "dict_where",
        "test",
        _items_dictionary,
        lambda e, b, p: tuple(dict(compress(e, p)).items()),
        "{{{kv} for {v} in {s} if {p}}}",
    ),
    Form(
        "take_while",
        "test",
        _filtered,
        lambda e, b, p: tuple(compress(e, takewhile(bool, p))),
        "list(takewhile(lambda {v}: {p}, {s}))",
        imports=("from itertools import takewhile",),
    ),
)
_MAPS: Final = (
    Form("map", "map", _mapped, lambda e, b, p: b, "[{b} for {v} in {s}]"),
    Form("map_text", "map", _joined, lambda e, b, p: "".join(b), '"".join({b} for {v} in {s})'),
    Form("map_words", "map", _joined, lambda e, b, p: " ".join(b), '" ".join({b} for {v} in {s})'),
    Form("sum_of", "map", _summed, _sum, "sum({b} for {v} in {s})"),
    Form("product_of", "map", _summed, _product, "math.prod({b} for {v} in {s})", imports=("import math",)),
    Form("maximum_of", "map", _extreme, lambda e, b, p: max(b), "max({b} for {v} in {s})"),
    Form("minimum_of", "map", _extreme, lambda e, b, p: min(b), "min({b} for {v} in {s})"),
    Form("set_of", "map", _as_set, lambda e, b, p: frozenset(b), "{{{b} for {v} in {s}}}"),
    Form("sort_by", "map", _sorted_by, lambda e, b, p: tuple(_by(e, b)), "sorted({s}, key=lambda {v}: {b})"),
    Form(
        "sort_by_descending",
        "map",
        _sorted_by,
        lambda e, b, p: _descending(e, b),
        "sorted({s}, key=lambda {v}: {b}, reverse=True)",
    ),
    Form("maximum_by", "map", _keyed, lambda e, b, p: _best(e, b, True), "max({s}, key=lambda {v}: {b})"),
    Form("minimum_by", "map", _keyed, lambda e, b, p: _best(e, b, False), "min({s}, key=lambda {v}: {b})"),
    Form("dict_of", "map", _dictionary, lambda e, b, p: _distinct(e, b), "{{{v}: {b} for {v} in {s}}}"),
)
_FILTERED: Final = (
    Form("map_where", "filtered", _mapped, lambda e, b, p: tuple(compress(b, p)), "[{b} for {v} in {s} if {p}]"),
    Form(
        "map_text_where",
        "filtered",
        _joined,
        lambda e, b, p: "".join(compress(b, p)),
        '"".join({b} for {v} in {s} if {p})',
    ),
    Form(
        "map_words_where",
        "filtered",
        _joined,
        lambda e, b, p: " ".join(compress(b, p)),
        '" ".join({b} for {v} in {s} if {p})',
    ),
    Form("sum_of_where", "filtered", _summed, lambda e, b, p: sum(compress(b, p)), "sum({b} for {v} in {s} if {p})"),
    Form(
        "maximum_of_where", "filtered", _extreme, lambda e, b, p: max(compress(b, p)), "max({b} for {v} in {s} if {p})"
    ),
    Form(
        "minimum_of_where", "filtered", _extreme, lambda e, b, p: min(compress(b, p)), "min({b} for {v} in {s} if {p})"
    ),
    Form(
        "dict_of_where",
        "filtered",
        _dictionary,
        lambda e, b, p: _distinct(tuple(compress(e, p)), tuple(compress(b, p))),
        "{{{v}: {b} for {v} in {s} if {p}}}",
    ),
)

FORMS: Final[tuple[Form, ...]] = _TESTS + _MAPS + _FILTERED

_WITH_DEFAULT: Final = ("first_where", "maximum_where", "minimum_where", "maximum_of_where", "minimum_of_where",
                        "maximum_by", "minimum_by", "maximum_of", "minimum_of")  # fmt: skip


def forms_with_default(literal: str, value: Value) -> list[Form]:
    """Return the forms that pick one element, each giving a stated value where there is none to pick."""
    return [_with_default(form, literal, value) for form in FORMS if form.name in _WITH_DEFAULT]


def _with_default(form: Form, literal: str, value: Value) -> Form:
    def apply(elements: Value, body: Value, kept: Value) -> Value:
        chosen = any(kept) if form.kind != "map" else bool(elements)
        return form.apply(elements, body, kept) if chosen else value

    before, inside = form.template[:-1].split("(", 1)
    generator = inside if form.name.endswith("_by") else f"({inside})"
    default = literal if form.name == "first_where" else f"default={literal}"
    return Form(f"{form.name}_or", form.kind, form.result, apply, f"{before}({generator}, {default})")
