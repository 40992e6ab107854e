"""Waiting for a condition with a bound: nothing here sleeps and hopes."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 120.0  # generous: a bound on what hangs, not a demand on how fast it is
POLL_S: Final = 0.1


def until(what: str, look: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """Look again and again until there is something (neither None, False nor empty), and return it.

    what    what is waited for, for the failure's message
    raises  AssertionError when the time is over, with what was seen last
    """
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:.0f} s still no {what}; seen last: {seen!r}")
        time.sleep(POLL_S)
