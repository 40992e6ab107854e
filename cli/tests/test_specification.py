"""Examples and task files, as people write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from grace_cli.errors import CliError
from grace_cli.specification import read_example, read_examples, read_task, read_text
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=3), VALUES)
def test_every_example_is_read_back_from_json_and_from_python(args: list[Any], expected: Any) -> None:
    as_json = f"{', '.join(map(json.dumps, args))} => {json.dumps(expected)}"
    as_python = f"{', '.join(map(repr, args))} => {expected!r}"

    assert read_example(as_json) == {"args": args, "expected": expected}
    assert read_example(as_python) == {"args": args, "expected": expected}


def test_tuples_become_lists_and_no_arguments_are_none() -> None:
    assert read_example("(1, 2), True => (3,)") == {"args": [[1, 2], True], "expected": [3]}
    assert read_example("=> 1") == {"args": [], "expected": 1}


@pytest.mark.parametrize(
    "line", ["1, 2", "a => b", "{1} => 2", "1 => 2, 3", "1 =>", "__import__('os') => 1", "{1: 2} => 3"]
)
def test_what_states_no_example_is_refused_with_the_form_expected(line: str) -> None:
    with pytest.raises(CliError, match="is no example") as refused:
        read_example(line)

    assert "=>" in refused.value.advice


@pytest.mark.parametrize(
    "text", ["1 => 2\n# comment\n\n[3] => 4\n", '[{"args": [1], "expected": 2}, {"args": [[3]], "expected": 4}]']
)
def test_a_file_of_examples_is_lines_or_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "examples").write_text(text)

    assert read_examples(tmp_path / "examples") == [{"args": [1], "expected": 2}, {"args": [[3]], "expected": 4}]


def test_lines_may_begin_with_a_bracket(tmp_path: Path) -> None:
    (tmp_path / "examples").write_text("[1, 2] => 3\n[4] => 4\n")

    assert [one["args"] for one in read_examples(tmp_path / "examples")] == [[[1, 2]], [[4]]]


@pytest.mark.parametrize("text", ['[{"args": 1, "expected": 2}]', '[{"args": []}]', "[3]"])
def test_json_that_is_no_list_of_examples_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "examples").write_text(text)

    with pytest.raises(CliError, match="is no example"):
        read_examples(tmp_path / "examples")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no task"),
        ('{"requirements": "x", "sgnature": "y"}', "unknown fields: sgnature"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "task.json").write_text(text)

    with pytest.raises(CliError, match=message):
        read_task(tmp_path / "task.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    for name in ("absent", "binary"):
        with pytest.raises(CliError, match=f"{name} cannot be read"):
            read_text(tmp_path / name)
