"""Killing the own process at a named stage: what `GRACE_FAILPOINT` asks for. No wheel and no image carries this.

`GRACE_FAILPOINT=relay.sent:3` kills at the third pass of that stage. `GRACE_FAILPOINT=later` waits to be told: once the
file WANTED in the state folder names a stage, the process dies there, and the file goes first, so that the next process
lives.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.runtime.failpoint import KEY_STAGES, STAGES

LATER: Final = "later"
WANTED: Final = "failpoint-wanted"
REACHED: Final = "failpoints-reached"
_FORM: Final = re.compile(r"(?P<stage>[a-z]+\.[a-z]+)(?::(?P<nth>[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Reached:
    """One death at a stage. `at` is in seconds since 1970."""

    stage: str
    pid: int
    at: float


class Failpoint:
    """Counts the passes of one stage from the moment it is made."""

    def __init__(self, wanted: str, state_dir: Path) -> None:
        form = _FORM.fullmatch(wanted)
        if form is None or form["stage"] not in (*STAGES, *KEY_STAGES):
            raise Refused(
                f"GRACE_FAILPOINT is {wanted!r}; expected a stage, STAGE:N for its Nth pass, or {LATER!r}; "
                f"stages: {', '.join((*STAGES, *KEY_STAGES))}"
            )
        self.wanted = wanted
        self._stage = form["stage"]
        self._left = int(form["nth"] or 1)
        self._state_dir = state_dir

    def passed(self, stage: str) -> None:
        """Die if this is the pass that was wanted."""
        if stage != self._stage:
            return
        self._left -= 1
        if self._left == 0:
            (self._state_dir / WANTED).unlink(missing_ok=True)
            with (self._state_dir / REACHED).open("a") as out:  # the page cache outlives the process
                out.write(f"{stage} {os.getpid()} {time.time()}\n")
            os.kill(os.getpid(), signal.SIGKILL)


class Later:
    """Looks, at each stage that is passed, whether a failpoint is wanted by now."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._failpoint: Failpoint | None = None

    def passed(self, stage: str) -> None:
        """Die if a failpoint is wanted and this is its pass."""
        try:
            wanted = (self._state_dir / WANTED).read_text()
        except FileNotFoundError:
            self._failpoint = None
            return
        if self._failpoint is None or self._failpoint.wanted != wanted:
            self._failpoint = Failpoint(wanted, self._state_dir)
        self._failpoint.passed(stage)


def killing(wanted: str, state_dir: Path) -> Callable[[str], None]:
    """Return what is to be called with each stage that is passed: it kills at the wanted one.

    wanted     what GRACE_FAILPOINT says
    state_dir  where the death is noted, in the file REACHED
    raises     Refused when `wanted` names no stage or no pass
    """
    return Later(state_dir).passed if wanted == LATER else Failpoint(wanted, state_dir).passed


def ask(state_dir: Path, wanted: str) -> None:
    """Let the process whose state folder this is, and which waits to be told, die at a stage."""
    draft = state_dir / f".{WANTED}"
    draft.write_text(wanted)
    draft.replace(state_dir / WANTED)


def deaths(state_dir: Path) -> list[Reached]:
    """Return every death that was noted in a service's state folder, oldest first."""
    file = state_dir / REACHED
    if not file.exists():
        return []
    lines = (line.split() for line in file.read_text().splitlines())
    return [Reached(stage, int(pid), float(at)) for stage, pid, at in lines]
