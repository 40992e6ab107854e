"""A progress bar over the entries of a log, on a terminal alone."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_REDRAW_S: Final = 0.1


class EntriesBar:
    """Counts entries; draws nothing."""

    def begin(self, entries: int) -> None:
        """Say how many there are."""

    def advance(self, entries: int) -> None:
        """Count entries that are done."""


class DrawnBar(EntriesBar):
    """Draws itself anew a few times a second: without a thread, as a process that has one cannot be copied."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self._drawn = 0.0

    def begin(self, entries: int) -> None:
        self._progress.update(self._task, total=entries)

    def advance(self, entries: int) -> None:
        self._progress.advance(self._task, entries)
        if time.monotonic() - self._drawn > _REDRAW_S:
            self._progress.refresh()
            self._drawn = time.monotonic()


@contextmanager
def entries_bar(quiet: bool) -> Iterator[EntriesBar]:
    """Yield a bar on standard error; one that draws nothing where that is no terminal, which costs no import."""
    if quiet or not sys.stderr.isatty():
        yield EntriesBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        yield DrawnBar(progress, progress.add_task("entries", total=None))
