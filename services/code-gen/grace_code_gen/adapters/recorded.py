"""Recorded completions of a real model, replayed by entry point: realistic candidates without a key or a network."""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from grace_common.contract.errors import Refused

from grace_code_gen.domain.completion import extract_code
from grace_code_gen.domain.draft import Brief, Draft
from grace_code_gen.domain.prompt import asserts_in

_DEFINITION: Final = re.compile(r"^def\s+([A-Za-z_]\w*)\s*\(", re.MULTILINE)
_MOST_TESTS: Final = 40
_SHARED: Final = 0.8  # of a task's completions repeat its prompt; what fewer define is their own


@dataclass(frozen=True, slots=True)
class Recording:
    """The raw completions of one task, and tests that the same model wrote."""

    completions: tuple[str, ...]
    tests: tuple[str, ...]


class RecordedGenerator:
    """Implements `Generator`.

    The file is `{"tasks": [{"completions": [text…], "tests": [text…]}, …]}`; a task may name its `entry_point`.
    """

    name = "recorded"
    prose = False

    def __init__(self, recordings: dict[str, Recording]) -> None:
        self._recordings = recordings

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; Refused says what is wrong with it."""
        try:
            tasks: list[dict[str, Any]] = orjson.loads(path.read_bytes())["tasks"]
            recordings = {
                entry_point: Recording(tuple(task["completions"]), tuple(task.get("tests", ())))
                for task in tasks
                if (entry_point := task.get("entry_point") or _entry_point(task["completions"])) is not None
            }
        except OSError as error:
            raise Refused(f"GRACE_RECORDED_COMPLETIONS names {path}, which cannot be read: {error.strerror}") from error
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise Refused(
                f"{path} holds no recorded completions: expected {{'tasks': [{{'completions': […]}}]}}"
            ) from error
        return cls(recordings)

    def suits(self, brief: Brief) -> bool:
        return brief.specification.entry_point in self._recordings

    async def generate(self, brief: Brief, wanted: int) -> AsyncGenerator[Draft, None]:
        """Yield what can be made of the first `wanted` completions, in their order."""
        entry_point = brief.specification.entry_point
        for rank, completion in enumerate(self._recordings[entry_point].completions[:wanted]):
            code = extract_code(completion, entry_point)
            if code:
                yield Draft(code=code, generator=self.name, cost=float(rank))

    async def tests(self, brief: Brief) -> Sequence[str]:
        """Return the tests that the recorded model wrote, each once."""
        entry_point = brief.specification.entry_point
        if entry_point not in self._recordings:
            return []
        text = "\n".join(self._recordings[entry_point].tests)
        return list(dict.fromkeys(asserts_in(text, entry_point)))[:_MOST_TESTS]


def _entry_point(completions: Sequence[str]) -> str | None:
    """Return the function that a task asks for: the last definition of the prompt, which nearly all completions repeat.

    A completion may go on after its answer and define others, so what only a few define does not count.
    """
    named = [list(dict.fromkeys(_DEFINITION.findall(completion))) for completion in completions]
    often = Counter(name for names in named for name in names)
    shared = {name for name, times in often.items() if times >= _SHARED * len(completions)}
    lasts = Counter(own[-1] for names in named if (own := [name for name in names if name in shared]))
    return lasts.most_common(1)[0][0] if lasts else None
