"""What a person sees while something takes long: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

MIB = 1024 * 1024


class Reporter(Protocol):
    """Where progress is shown."""

    def say(self, line: str) -> None:
        """Show one line that stays."""

    def bytes(self, title: str, total: int) -> "Iterator[Callable[[int], None]]":
        """Yield a function to be called with each number of bytes that arrived."""


class Silent:
    """Shows nothing: for tests and for `--json`."""

    def say(self, line: str) -> None:
        pass

    def bytes(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda count: None


class PlainLines:
    """One line at each fifth of a download; for logs and pipes."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def bytes(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        done = 0
        shown = 0

        def advance(count: int) -> None:
            nonlocal done, shown
            done += count
            fifth = done * 5 // total
            if fifth > shown:
                shown = fifth
                self.say(f"{title}: {done / MIB:.0f} of {total / MIB:.0f} MiB")

        yield advance


class Bars:
    """A bar with size, speed and time left; for terminals."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def bytes(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=total)
            yield lambda count: progress.advance(task, count)


@contextmanager
def byte_progress(reporter: Reporter, title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Open a progress display for `total` bytes and close it whatever happens."""
    yield from reporter.bytes(title, total)


def for_terminal(quiet: bool = False) -> Reporter:
    """Return the reporter that fits standard error."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else PlainLines()
