"""Code out of a model's raw text."""

import pytest
from grace_code_gen.domain.completion import extract_code
from hypothesis import given
from hypothesis import strategies as st

PLAIN = "def add(x, y):\n    return x + y\n"


@pytest.mark.parametrize(
    "completion",
    [
        PLAIN,
        f"```python\n{PLAIN}```",
        f"Sure! Here it is:\n\n```\n{PLAIN}\n```\nIt adds.",
        f"Here is the function:\n{PLAIN}",
        f"{PLAIN}\n\nThis function adds two numbers.",
        f"{PLAIN}\n\nassert add(1, 2) == 3\nprint(add(1, 2))\n",
        f"{PLAIN}\n\nif __name__ == '__main__':\n    print(add(1, 2",
        f"{PLAIN}\n\ndef test_add():\n    assert add(1",
        f"{PLAIN}\n\ndef add(x, y):\n    return x -",
        f"{PLAIN}\n\ndef other(x):\n    return x\n",
        f"{PLAIN}\nassert add([0.1, 0.2, 0.",
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("    ", "\t"),
        f"'''\nunclosed prose\n{PLAIN}",
    ],
)
def test_the_function_alone_is_taken(completion: str) -> None:
    assert extract_code(completion, "add") == PLAIN


def test_what_the_function_needs_comes_with_it() -> None:
    code = (
        "from __future__ import annotations\nimport math\nimport os\nfrom functools import cache\n\n"
        "LIMIT = 3\nOTHER = 4\n\n"
        "def helper(x):\n    return math.floor(x) + LIMIT\n\n@cache\ndef f(x):\n    return helper(x)\n\nprint(f(1))\n"
    )

    assert extract_code(code, "f") == (
        "from __future__ import annotations\nimport math\nfrom functools import cache\n\n\nLIMIT = 3\n\n\n"
        "def helper(x):\n    return math.floor(x) + LIMIT\n\n\n@cache\ndef f(x):\n    return helper(x)\n"
    )


@pytest.mark.parametrize(
    "completion", ["", "I cannot help with that.", "def other(): pass", "def add(x, y", "class add: pass"]
)
def test_a_text_without_the_function_gives_nothing(completion: str) -> None:
    assert extract_code(completion, "add") == ""


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_around_it_gives_code_that_parses_or_nothing(before: str, after: str) -> None:
    code = extract_code(f"{before}\n{PLAIN}{after}", "add")

    compile(code, "candidate.py", "exec")
