"""What a person sees while the stack starts or stops: a picture that changes on a terminal, lines elsewhere."""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from grace_cli.stack.status import ChildStatus, StackStatus, State

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

REFRESH_PER_S: Final = 8
STYLES: Final = {State.READY: "green", State.UNREADY: "red", State.RESTARTING: "red", State.STOPPED: "dim"}


class Watch:
    """Shows the statuses it is given, and leaves nothing of the picture behind.

    console  where to show them
    title    what goes on: `Starting Grace`
    """

    def __init__(self, console: "Console", title: str) -> None:
        from rich.live import Live

        self._console = console
        self._title = title
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}
        self._status: StackStatus | None = None
        self._live = (
            Live(console=console, get_renderable=self._picture, refresh_per_second=REFRESH_PER_S, transient=True)
            if console.is_terminal
            else None
        )

    @property
    def seconds(self) -> float:
        """Return how long this has gone on."""
        return time.monotonic() - self._began

    def show(self, status: StackStatus) -> None:
        """Show what changed."""
        self._status = status
        if self._live is None:
            for line in follow(self._seen, status):
                self._console.print(f"{self.seconds:6.1f} s  {line}", highlight=False, markup=False, soft_wrap=True)
        elif not self._live.is_started:  # not before: downloads have bars of their own
            self._live.start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _picture(self) -> "RenderableType":
        ascii_only = self._console.options.ascii_only
        return "" if self._status is None else picture(self._status, self._title, self.seconds, ascii_only)


def picture(status: StackStatus, title: str, seconds: float, ascii_only: bool = False) -> "Table":
    """Return every child with a mark and what it is doing, below a title with the seconds gone by."""
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, show_header=False, title=f"{title} ({seconds:.0f} s)", title_justify="left")
    shown.title_style = "bold"
    shown.add_column(width=1)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    marks = {
        State.READY: "+" if ascii_only else "✓",
        State.WAITING: "." if ascii_only else "·",
        State.STOPPED: "",
    }
    for child in status.children:
        state, what = doing(child, status.stopping)
        style = STYLES.get(state, "dim" if state is State.WAITING else "")
        mark: RenderableType = Text(marks.get(state, "!"), style)
        if state in (State.PREPARING, State.STARTING):
            mark = Spinner("line" if ascii_only else "dots", style="cyan")
        shown.add_row(mark, Text(child.name, style), Text(what, style))
    return shown


def doing(child: ChildStatus, stopping: bool) -> tuple[State, str]:
    """Return a child's state for the eye, and what it is doing in words."""
    if stopping and child.state is not State.STOPPED:
        return State.STARTING, "stopping"
    if child.state is State.WAITING:
        return child.state, f"waiting {child.detail}".strip()
    if child.state is State.PREPARING and child.detail:
        return child.state, child.detail
    return child.state, child.state + (f": {child.detail}" if child.detail else "")


def follow(seen: dict[str, str], status: StackStatus) -> list[str]:
    """Return a sentence for those children that entered a new state together; `seen` is brought up to date.

    That a child waits is not told, nor that it was ready before anybody looked; that what prepares it failed, and when
    it is tried again, is. While the stack stops, only that a child has.
    """
    news = []
    for child in status.children:
        key = condition(child) if child.state is State.PREPARING else child.state
        told = child.state is State.STOPPED if status.stopping else child.state is not State.WAITING
        if told and seen.get(child.name, State.READY) != key:
            news.append(child)
        seen[child.name] = key
    return sentences(news)


def condition(child: ChildStatus) -> str:
    """Return a child's state and why: `preparing (migrating tables)`."""
    return child.state + (f" ({child.detail})" if child.detail else "")


def sentences(children: Iterable[ChildStatus]) -> list[str]:
    """Say what children are doing, those in the same condition together: `kafka and postgres are starting`."""
    groups: dict[str, list[str]] = {}
    for child in children:
        groups.setdefault(condition(child), []).append(child.name)
    return [f"{together(names)} {'is' if len(names) == 1 else 'are'} {what}" for what, names in groups.items()]


def together(names: Sequence[str]) -> str:
    """Return `kafka`, `kafka and postgres`, `kafka, postgres and gateway`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
