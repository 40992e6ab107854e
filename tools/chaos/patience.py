"""Waiting for a condition with a bound, beside everything else in the loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 180.0  # a bound on what hangs, not a demand on how fast it is
_POLL_S: Final = 0.05


class Impatient(RuntimeError):
    """What was waited for did not come."""


async def until(what: str, look: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
    """Look until there is something (neither None, False nor empty), and return it.

    what    what is waited for
    raises  Impatient when the time is over
    """
    deadline = time.monotonic() + timeout_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise Impatient(f"after {timeout_s:.0f} s still no {what}")
        await asyncio.sleep(_POLL_S)
    return seen
