"""Whatever a requester sends, the service answers or refuses it: another error would stop it for everybody."""

from typing import Any, Final

import pytest
from grace_code_gen.adapters.evaluator import plan
from grace_code_gen.domain import values
from grace_code_gen.domain.approach import Concept, brief_of, describe, examined
from grace_code_gen.domain.specification import Specification
from grace_common.contract.errors import Refused
from grace_common.contract.events.task import Example, Prose
from grace_common.contract.events.task import Specification as Requested
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

LARGEST: Final = 10**4300 - 1  # JSON with a longer integer is refused at every door
TYPES: Final = (
    "int",
    "float",
    "str",
    "bytes",
    "set[int]",
    "set[set[int]]",
    "dict[int, float]",
    "dict[int]",
    "tuple[int, ...]",
    "tuple[()]",
    "list[()]",
    "list[int, int, int]",
    "Optional[()]",
    "Union[()]",
    "Literal[1, 2]",
    "Callable[[int], int]",
    "'list[list[int]]'",
    "dict[str, " * 40 + "int" + "]" * 40,
    "tuple[" * 60 + "list[int]" + "]" * 60,
    "tuple[str, list[" * 20 + "int" + "]]" * 20,
    "int | " * 60 + "str",
)
CODES: Final = (
    "def f(a, b=1):\n    return a\n",
    "f = 1",
    "class f: pass",
    "import os\nx =",
    "def f(a: list[()]): pass",
    "",
)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from((LARGEST, -LARGEST, 2**1024))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
)
json = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))
signatures = st.builds("def f(a: {}, b: {} = None):".format, st.sampled_from(TYPES), st.sampled_from(TYPES)).filter(
    lambda text: len(text) <= 500
)


class Empty:
    def find(self, requirements: str, entry_point: str | None) -> Concept | None:
        return None


@st.composite
def requests(draw: st.DrawFn) -> Requested:
    width = draw(st.integers(0, 3))
    examples = st.builds(Example, args=st.lists(json, min_size=width, max_size=width).map(tuple), expected=json)
    return Requested(
        requirements=draw(st.just("x") | st.text(min_size=1, max_size=50).filter(_is_prose)),
        entry_point=draw(st.sampled_from(("f", "class", None))),
        signature=draw(st.none() | signatures),
        examples=draw(st.lists(examples, max_size=4).map(tuple)),
        tests=draw(
            st.sampled_from((None, "", "# x", "assert f() == 1", "def check(candidate):\n    assert candidate(1)"))
        ),
    )


def _is_prose(text: str) -> bool:
    try:
        TypeAdapter(Prose).validate_python(text)
    except ValueError:
        return False
    return True


def put(specification: Specification) -> None:
    """Do all that happens to a request before code runs."""
    asked = plan(specification)
    asked.questions()
    for arguments in asked.arguments:
        values.encode((list(arguments), {}))


@settings(max_examples=50, deadline=None)
@given(requests(), st.sampled_from(CODES), st.booleans())
def test_any_request_is_met_or_refused(asked: Requested, code: str, models: bool) -> None:
    for specified in (
        lambda: brief_of(asked, Empty(), models=models).specification,
        lambda: examined(asked, code),
    ):
        try:
            put(specified())
        except Refused:
            continue


@pytest.mark.parametrize("annotation", TYPES)
@pytest.mark.parametrize(
    "argument", [[[1]], LARGEST, {"1": LARGEST}, [{}], 2**1024, None], ids=lambda one: str(one)[:9]
)
def test_no_pair_of_type_and_argument_is_too_strange(annotation: str, argument: Any) -> None:
    asked = Requested(
        requirements="x",
        signature=f"def f(a: {annotation}):",
        examples=(Example(args=(argument,), expected=argument),),
    )

    brief = brief_of(asked, Empty(), models=False)

    put(brief.specification)
    assert describe(brief, ["synthesis"], [])
