"""Types: inferred from values, read from annotations, matched to patterns."""

import ast

import pytest
from grace_code_gen.domain.synthesis.goal import Goal
from grace_code_gen.domain.synthesis.probes import probes
from grace_code_gen.domain.synthesis.terms import Leaf, Term
from grace_code_gen.domain.synthesis.types import annotated, element, freeze, join, match, settle, substitute, type_of


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (True, "bool"),
        (1, "int"),
        (1.5, "float"),
        (None, "none"),
        ("a", "str"),
        ([], "list[?]"),
        ([1, 2.0], "list[float]"),
        ([[1], []], "list[list[int]]"),
        ([1, "a"], "list[any]"),
        ((1, "a"), "tuple[int,str]"),
        ({"a": 1}, "dict[str,int]"),
        ({1, 2}, "set[int]"),
        (object(), "any"),
    ],
)
def test_a_value_has_a_type(value: object, type_: str) -> None:
    assert type_of(value) == type_


@pytest.mark.parametrize(
    ("annotation", "type_"),
    [
        ("int", "int"),
        ("list", "list[?]"),
        ("List[str]", "list[str]"),
        ("typing.List[int]", "list[?]"),
        ("Dict[str, int]", "dict[str,int]"),
        ("Tuple[int, List[str]]", "tuple[int,list[str]]"),
        ("Optional[str]", "str"),
        ("None", "none"),
        ("'quoted'", "?"),
        ("Widget", "?"),
        ("a | b", "?"),
    ],
)
def test_an_annotation_states_a_type(annotation: str, type_: str) -> None:
    assert annotated(ast.parse(annotation, mode="eval").body).startswith(type_.split("[")[0])


def test_no_annotation_states_nothing() -> None:
    assert annotated(None) == "?"


def test_what_the_examples_leave_open_is_filled_in() -> None:
    assert settle("list[?]") == "list[int]"
    assert join("list[?]", "list[str]") == "list[str]"
    assert join("char", "str") == "str"


def test_patterns_bind_their_variables() -> None:
    bound = match("dict[a,b]", "dict[str,list[int]]")
    assert bound is not None
    assert substitute("list[b]", bound) == "list[list[int]]"
    assert match("list[text]", "list[int]") is None
    assert match("tuple[a,a]", "tuple[int,str]") is None


def test_what_can_be_iterated_over_has_an_element_type() -> None:
    assert [element(type_) for type_ in ("str", "range", "pairs[int,str]", "list[int]", "int")] == [
        "char", "int", "tuple[int,str]", "int", None,
    ]  # fmt: skip


def test_values_are_frozen_to_be_compared_by_value() -> None:
    assert freeze({"a": [1]}, "dict[str,list[int]]") == (("a", (1,)),)
    assert freeze([1, 2], "list[float]") == (1.0, 2.0)
    assert freeze({1, 2}, "set[int]") == frozenset({1, 2})
    assert freeze([1, "a"], "tuple[int,str]") == (1, "a")


def term(type_: str, *values: object) -> Term:
    return Term(Leaf("x"), (), type_, 1, values)


def test_one_is_not_true_and_a_float_is_an_int_only_where_floats_are_returned() -> None:
    assert Goal([1, 0], "?").mask(term("bool", True, False)) == 0
    assert Goal([1, 0], "?").mask(term("float", 1.0, 0.0)) == 0
    assert Goal([1, 0], "float").mask(term("float", 1.0, 0.0)) == 0b11
    assert Goal([1, 2.5], "?").mask(term("int", 1, 2)) == 0b01


def test_dicts_are_equal_in_any_order() -> None:
    assert Goal([{"a": 1, "b": 2}], "?").mask(term("dict[str,int]", (("b", 2), ("a", 1)))) == 1


def test_probes_are_new_and_the_same_each_time() -> None:
    inputs = [((3, 1), "ab", 2.5, True), ((), "", 0.0, False)]
    types = ["list[int]", "str", "float", "bool"]
    made = probes(inputs, types, 6)

    assert len(made) == 6
    assert not set(made) & set(inputs)
    assert made == probes(inputs, types, 6)
    assert probes([({1: 2}, frozenset({1}), (1, "a"))], ["dict[int,int]", "set[int]", "tuple[int,str]"], 2)
