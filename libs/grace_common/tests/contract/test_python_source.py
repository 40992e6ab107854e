"""Python text in requests is read and never run; whatever offends the parser is refused in words."""

import ast

import pytest
from grace_common.contract.errors import Refused
from grace_common.contract.python_source import (
    MAX_NESTING,
    function_header,
    last_definition,
    parsed,
    require_tests,
)
from hypothesis import given
from hypothesis import strategies as st

DEEP = [
    "x = " + "+".join("1" * 2_000),
    "x = " + "-" * 7_000 + "1",
    "x = a" + ".b" * 2_000,
    "x = a" + "()" * 400,
    "x = " + "(" * 3_000,
    "if a:\n pass\n" + "elif a:\n pass\n" * 500,
]


@pytest.mark.parametrize("text", [*DEEP, "def f(", "\0", "x = '\\", "return " + "\ud800"])
def test_whatever_the_parser_cannot_take_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError):
        parsed(text)


def test_a_tree_of_the_deepest_nesting_can_be_written_and_walked_by_recursion() -> None:
    most = next(text for terms in range(MAX_NESTING, 0, -1) if _is_python(text := "assert " + "+".join("1" * terms)))

    assert ast.unparse(ast.NodeTransformer().visit(parsed(most))).count("1") > MAX_NESTING // 2


def _is_python(text: str) -> bool:
    try:
        parsed(text)
    except SyntaxError:
        return False
    return True


@given(st.text(alphabet="def ()[]:+-.,'\"\\\n\tasync@x1=*\0é", max_size=80))
def test_any_text_is_python_or_a_syntax_error(text: str) -> None:
    assert _is_python(text) in (True, False)


@pytest.mark.parametrize("header", ["def f(a, b):", "def f(a, b)", "  def f(a: int, *, b=2) -> str: ...  "])
def test_a_header_may_lack_its_colon_or_end_in_dots(header: str) -> None:
    assert function_header(header).name == "f"


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("secret(", "no Python function header"),
        ("class secret", "no Python function header"),
        ("async def secret():", "one `def name"),
        ("@secret\ndef f():", "one `def name"),
        ("def f(): pass\ndef secret():", "one `def name"),
    ],
)
def test_what_is_no_header_is_refused_without_being_repeated(signature: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        function_header(signature)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("tests", "reason"), [("x = 1\nassert (", "line 2"), ("\0", "null"), (DEEP[1], "too deep")])
def test_tests_that_are_no_python_are_refused_with_where(tests: str, reason: str) -> None:
    with pytest.raises(Refused, match=f"the tests are no Python.*{reason}"):
        require_tests(tests)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("def first(): pass\ndef second(): pass\nx = 1", "second"),
        ("class A:\n    def method(self): pass", None),
        ("x = 1", None),
        ("def broken(:\n", "broken"),
        ("def first(): pass\ndef naïve(): pass", None),
        ("", None),
    ],
)
def test_the_last_function_at_the_top_level_is_the_one_that_code_defines(code: str, name: str | None) -> None:
    assert last_definition(code) == name
