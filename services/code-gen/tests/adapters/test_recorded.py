"""Recorded completions, replayed."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from grace_code_gen.adapters.recorded import RecordedGenerator
from grace_code_gen.domain.draft import Brief
from grace_code_gen.domain.specification import Specification
from grace_common.contract.errors import Refused

PROMPT = "def is_even(n):\n    return n % 2 == 0\n\n\ndef halve(n):\n"
COMPLETIONS = (
    PROMPT + "    return n // 2\n",
    PROMPT + "    return n >> 1\n\n\ndef double(n):\n    return 2 * n\n",
    "this completion went wrong at once",
    PROMPT + "    return int(n / 2)\n\nprint(halve(3))\n",
    *[PROMPT + f"    return n // {number}\n" for number in range(3, 10)],
)
TESTS = ("assert halve(4) == 2\nassert halve(4) == 2\n", "x = 1\nassert halve(10) == 5", "assert double(1) == 2")
HALVE = Brief(Specification("Halve", "halve"))


def recording(folder: Path, *tasks: dict[str, object]) -> RecordedGenerator:
    path = folder / "recorded.json"
    path.write_bytes(orjson.dumps({"tasks": tasks}))
    return RecordedGenerator.load(path)


async def codes(generator: RecordedGenerator, wanted: int) -> Sequence[str]:
    return [draft.code async for draft in generator.generate(HALVE, wanted)]


async def test_completions_are_replayed_in_their_order_as_far_as_they_hold_code(tmp_path: Path) -> None:
    generator = recording(tmp_path, {"completions": COMPLETIONS})

    drafts = [draft async for draft in generator.generate(HALVE, 4)]

    assert [draft.code for draft in drafts] == [
        "def halve(n):\n    return n // 2\n",
        "def halve(n):\n    return n >> 1\n",
        "def halve(n):\n    return int(n / 2)\n",
    ]
    assert [(draft.generator, draft.cost) for draft in drafts] == [("recorded", 0), ("recorded", 1), ("recorded", 3)]


async def test_a_task_is_known_by_the_function_nearly_all_completions_define_last(tmp_path: Path) -> None:
    generator = recording(tmp_path, {"completions": COMPLETIONS}, {"completions": ["no code at all"]})

    assert generator.suits(HALVE)
    assert not generator.suits(Brief(Specification("Double", "double")))
    assert not generator.suits(Brief(Specification("Even", "is_even")))


async def test_a_task_may_name_its_function(tmp_path: Path) -> None:
    generator = recording(tmp_path, {"entry_point": "double", "completions": COMPLETIONS})

    assert generator.suits(Brief(Specification("Double", "double")))
    assert not generator.suits(HALVE)


async def test_the_models_own_tests_are_replayed_each_once(tmp_path: Path) -> None:
    generator = recording(tmp_path, {"completions": COMPLETIONS, "tests": TESTS})

    assert await generator.tests(HALVE) == ["assert halve(4) == 2", "assert halve(10) == 5"]
    assert await generator.tests(Brief(Specification("Unknown", "unknown"))) == []


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"tasks": [{}]}', b'{"tasks": ["x"]}', b'{"tasks": 1}'])
def test_a_file_of_another_form_is_refused_with_the_form_expected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)

    with pytest.raises(Refused, match=r"other\.json holds no recorded completions: expected"):
        RecordedGenerator.load(path)


def test_a_missing_file_is_refused_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"GRACE_RECORDED_COMPLETIONS names .*nowhere, which cannot be read"):
        RecordedGenerator.load(tmp_path / "nowhere")
