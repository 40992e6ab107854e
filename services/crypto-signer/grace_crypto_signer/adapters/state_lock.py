"""One at a time changes the state folder: a command that somebody gives, or the running signer of its own accord.

The lock is an `flock` on a file in the folder, so it ends with the process that holds it, however that dies; the file
stays. It says who holds it, for whoever waits. Readers need none: each file is replaced as a whole, and a change of
several files leaves what opens after every step.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from grace_common.contract.errors import Unready

PATIENCE_S: Final = 30.0
LOCK_FILE: Final = "lock"
_LOOK_EVERY_S: Final = 0.1
_MOST_BYTES: Final = 200


class Busy(Unready):
    """Another one is changing the folder: `holder`."""

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(
            f"{folder} is being changed by {holder}, so nothing was done: give the command again once that has ended; "
            "where it hangs, end that process, which frees the lock"
        )
        self.holder = holder


@contextmanager
def changing(folder: Path, what: str) -> Iterator[None]:
    """Be the only one that changes the folder, which is made where there is none.

    what    is done, as others are told meanwhile
    raises  Busy at once while another one changes it: who that is, and what to do
    """
    lock = _take(folder, what)
    try:
        yield
    finally:
        _free(lock)


@asynccontextmanager
async def waiting_to_change(folder: Path, what: str, *, patience_s: float = PATIENCE_S) -> AsyncIterator[None]:
    """Be the only one that changes the folder, as `changing`, once the others have ended.

    raises  Busy when they have not in time
    """
    until = monotonic() + patience_s
    while True:
        try:
            lock = _take(folder, what)
            break
        except Busy:
            if monotonic() >= until:
                raise
        await asyncio.sleep(_LOOK_EVERY_S)
    try:
        yield
    finally:
        _free(lock)


def _take(folder: Path, what: str) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened anew by each, so that two in one process exclude each other as two processes do.
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, _MOST_BYTES, 0).decode(errors="replace") or "another process"
        os.close(lock)
        raise Busy(folder, holder) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{what} (process {os.getpid()})".encode()[:_MOST_BYTES], 0)
    return lock


def _free(lock: int) -> None:
    try:
        os.ftruncate(lock, 0)  # else the next to wait could read of one that has ended
    finally:
        os.close(lock)
