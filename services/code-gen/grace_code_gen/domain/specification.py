"""What is asked for: the task's words, the signature, the requester's examples and tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grace_common.contract.errors import Refused

EVALUABLE_LANGUAGES: Final = ("python",)
JSON = Any  # null, bool, number, string, list or object


@dataclass(frozen=True, slots=True)
class Example:
    """One call and what it must return, as JSON values."""

    args: tuple[JSON, ...]
    expected: JSON


@dataclass(frozen=True, slots=True)
class Specification:
    """One request for one function.

    signature  the header (`def add(x: int, y: int) -> int:`), or None when only the name is known
    tests      Python text: assert statements, `def check(candidate)`, or `test_…` functions; None when there are none
    """

    requirements: str
    entry_point: str
    language: str = "python"
    signature: str | None = None
    examples: tuple[Example, ...] = ()
    tests: str | None = None

    def __post_init__(self) -> None:
        require_evaluable(self.language)
        if not self.entry_point.isidentifier():
            raise Refused(f"the entry point {self.entry_point!r} is no Python identifier")


def require_evaluable(language: str, known: Sequence[str] = EVALUABLE_LANGUAGES) -> None:
    """Raise Refused, listing those that can be evaluated, when `language` cannot."""
    if language not in known:
        raise Refused(f"code in {language!r} cannot be evaluated yet; these can: {', '.join(known)}")
