"""The requester's tests as steps."""

import pytest
from grace_code_gen.domain.requester_tests import suite
from grace_common.contract.errors import Refused


def test_every_assert_is_a_step_wherever_it_stands() -> None:
    asked = suite("assert f(1) == 1\ndef check(candidate):\n    for n in (1, 2):\n        assert candidate(n) == n\n")

    assert asked.labels == ("f(1) == 1", "candidate(n) == n")
    assert asked.source.endswith("check(candidate)")


def test_functions_named_test_are_called_unless_the_text_calls_them() -> None:
    assert suite("def test_a():\n    assert f()\n").source.endswith("test_a()")
    assert suite("def test_a():\n    assert f()\ntest_a()\n").source.count("test_a()") == 2
    assert suite("def test_a(fixture):\n    assert f()\n").source.count("test_a") == 1


def test_tests_without_an_assert_are_one_step() -> None:
    asked = suite("from __future__ import annotations\nf(1)\n")

    assert asked.labels == ("the tests run to their end",)
    assert asked.source.startswith("from __future__")


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("assert (", r"no Python \(line 1\)"),
        ("assert f()\n" * 61, "61 asserts; at most 60"),
        ("\0", "no Python"),
        ("assert " + "+".join("1" * 500), "nested deeper than 200 levels"),
    ],
)
def test_tests_that_cannot_be_run_are_refused(tests: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        suite(tests)
