"""Values across the wall: what goes in comes out, nothing else is let through, and classes follow Python's equality."""

import math
from collections import Counter, OrderedDict
from typing import Any

import pytest
from grace_code_gen.domain.values import (
    MAX_NODES,
    Unencodable,
    canonical,
    decode,
    digest,
    encode,
    meets,
    require_tagged,
    shown,
)
from hypothesis import given
from hypothesis import strategies as st

keys = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()))
plain = st.recursive(
    st.one_of(keys, st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), st.frozensets(st.integers())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
    ),
    max_leaves=12,
)


@given(plain)
def test_a_value_comes_back_as_it_went_in(value: Any) -> None:
    tagged = encode(value)
    require_tagged(tagged)

    assert decode(tagged) == value
    assert len(shown(tagged)) <= 200
    assert shown(tagged).isascii()


@given(
    st.recursive(st.integers(-9, 9) | st.text() | st.floats() | st.none(), lambda inner: st.lists(inner), max_leaves=9)
)
def test_what_is_not_of_the_form_is_refused_and_nothing_else_happens(tagged: Any) -> None:
    try:
        require_tagged(tagged)
    except ValueError:
        return
    canonical(tagged)
    shown(tagged)


@pytest.mark.parametrize(
    "tagged",
    [
        1.5,
        [],
        ["f"],
        ["f", "x"],
        ["i", 3],
        ["i", "zz"],
        ["d", [1]],
        ["q"],
        [["l"]],
        {"a": 1},
        2**60,
        ["b", "x"],
        ["c", "1"],
    ],
)
def test_a_malformed_value_is_refused(tagged: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        require_tagged(tagged)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2, 2.0),
        (0.1 + 0.2, 0.3),
        ({1: "a", 2: "b"}, OrderedDict([(2, "b"), (1, "a")])),
        ({1, 2}, frozenset([2, 1])),
        (Counter("aab"), {"a": 2, "b": 1}),
        (0.0, -0.0),
        (math.nan, math.nan),
    ],
)
def test_equal_values_are_one_output_class(one: object, other: object) -> None:
    assert digest(encode(one)) == digest(encode(other))


@pytest.mark.parametrize(("one", "other"), [(1, True), ([1], (1,)), ("1", 1), (None, False), (b"a", "a"), (1.0, 1.001)])
def test_different_values_are_different_output_classes(one: object, other: object) -> None:
    assert digest(encode(one)) != digest(encode(other))


@pytest.mark.parametrize(
    ("output", "expected", "verdict"),
    [
        ((1, 2), [1, 2], True),
        ({3, 1}, [1, 3], True),
        ({3, 1}, [1, 4], False),
        (iter([1, 2]), [1, 2], True),
        ({1: "a"}, {"1": "a"}, True),
        ({1: "a"}, {"2": "a"}, False),
        (0.1 + 0.2, 0.3, True),
        (2, 2.0, True),
        (10**400, 1.5, False),
        (10**40, 10**40, True),
        (1, True, False),
        (True, 1, False),
        (None, None, True),
        ("a", ["a"], False),
        ([1, 2], [1], False),
        ([1], {"a": 1}, False),
        ("1", 1, False),
        (None, [1], False),
        (object(), "x", False),
    ],
)
def test_an_output_meets_what_json_can_say_of_it(output: object, expected: object, verdict: bool) -> None:
    assert meets(encode(output), expected) is verdict


def test_a_value_that_holds_itself_is_too_deep() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(Unencodable, match="nested deeper"):
        encode(loop)


def test_a_value_with_too_many_elements_is_refused() -> None:
    with pytest.raises(Unencodable, match="more than"):
        encode(range(0) or [0] * (MAX_NODES + 1))


def test_an_object_of_a_class_of_its_own_is_shown_without_its_address() -> None:
    tagged = encode(object())

    assert tagged[:2] == ["o", "object"]
    assert "0x " not in tagged[2]
    assert shown(tagged).startswith("<object>")
    with pytest.raises(ValueError, match="cannot be handed over"):
        decode(tagged)


@pytest.mark.parametrize(
    ("value", "text"),
    [((1,), "(1,)"), (set(), "set()"), ({"a": [1.5]}, "{'a': [1.5]}"), (iter([1]), "iter([1])"), ("é", r"'\xe9'")],
)
def test_a_value_is_shown_as_a_person_writes_it(value: object, text: str) -> None:
    assert shown(encode(value)) == text


def test_what_is_shown_is_cut_at_its_limit() -> None:
    assert shown(encode("x" * 500), 10) == "'xxxxxx..."
