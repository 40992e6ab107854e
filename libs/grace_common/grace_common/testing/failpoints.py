"""Killing the own process at a named stage: what `GRACE_FAILPOINT` asks for. No wheel and no image carries this."""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grace_common.contract.errors import Refused
from grace_common.runtime.failpoint import STAGES

REACHED: Final = "failpoints-reached"
_FORM: Final = re.compile(r"(?P<stage>[a-z]+\.[a-z]+)(?::(?P<nth>[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Reached:
    """One death at a stage. `at` is in seconds since 1970."""

    stage: str
    pid: int
    at: float


def killing(wanted: str, state_dir: Path) -> Callable[[str], None]:
    """Return what is to be called with each stage that is passed: it kills at the nth pass of the wanted one.

    wanted     `relay.sent`, or `relay.sent:3` for its third pass
    state_dir  where the death is noted, in the file REACHED
    raises     Refused when `wanted` names no stage or no pass
    """
    form = _FORM.fullmatch(wanted)
    if form is None or form["stage"] not in STAGES:
        raise Refused(
            f"GRACE_FAILPOINT is {wanted!r}; expected a stage, or STAGE:N for its Nth pass; stages: {', '.join(STAGES)}"
        )
    stage, left = form["stage"], int(form["nth"] or 1)

    def passed(name: str) -> None:
        nonlocal left
        if name != stage:
            return
        left -= 1
        if left == 0:
            _note(state_dir / REACHED, Reached(stage, os.getpid(), time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


def deaths(state_dir: Path) -> list[Reached]:
    """Return every death that was noted in a service's state folder, oldest first."""
    file = state_dir / REACHED
    if not file.exists():
        return []
    lines = (line.split() for line in file.read_text().splitlines())
    return [Reached(stage, int(pid), float(at)) for stage, pid, at in lines]


def _note(file: Path, death: Reached) -> None:
    with file.open("a") as out:  # the page cache outlives the process
        out.write(f"{death.stage} {death.pid} {death.at}\n")
