"""Many tasks at once, and the table at the end."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from grace_cli.demo.driving import Outcome
from grace_cli.story import Story


class Board:
    """How far each task is: a table that changes on a terminal, a line per finished task elsewhere."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[str, str]] = dict.fromkeys(names, ("waiting", ""))
        self._done = 0
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Board":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, name: str) -> "BoardLine":
        """Return the display of one task."""
        return BoardLine(self, name)

    def change(self, name: str, state: str, detail: str) -> None:
        """Show where a task is."""
        with self._lock:
            self._rows[name] = (state, detail)
            if self._live is not None:
                self._live.update(self._table())

    def finish(self, outcome: Outcome) -> None:
        """Show how a task ended."""
        self.change(outcome.name, outcome.state, said(outcome))
        with self._lock:
            self._done += 1
            if self._live is None:
                place = f"[{self._done}/{len(self._rows)}]"
                line = f"{place} {outcome.name}: {outcome.state}, {outcome.seconds:.1f} s{said(outcome, ', ')}"
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("task", "state", ""):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for name, (state, detail) in self._rows.items():
            if state != "waiting":
                table.add_row(Text(name), Text(state), Text(detail))
        left = sum(1 for state, _ in self._rows.values() if state == "waiting")
        if left:
            table.add_row(f"… {left} more", "", "")
        return table


class BoardLine:
    """One task's line; a `Display`."""

    def __init__(self, board: Board, name: str) -> None:
        self._board = board
        self._name = name

    def show(self, story: Story, name: str, fact: Mapping[str, Any]) -> None:
        evaluated = sum(1 for candidate in story.candidates.values() if candidate.quality is not None)
        detail = f"round {story.round}, {evaluated} of {len(story.candidates)} candidates evaluated"
        self._board.change(self._name, story.state, detail if story.candidates else "")


def said(outcome: Outcome, before: str = "") -> str:
    """Return confidence or reason in a few words."""
    if outcome.code is not None and outcome.confidence is not None:
        return f"{before}confidence {outcome.confidence:.2f}"
    return f"{before}{outcome.why}" if outcome.why else ""


def result_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the table that ends a demo."""
    table = Table(title="What Grace delivered", title_justify="left", header_style="bold")
    table.add_column("task", no_wrap=True)
    table.add_column("solved by its hidden check")
    for column in ("confidence", "seconds", "ledger entries"):
        table.add_column(column, justify="right")
    table.add_column("receipt")
    for outcome in outcomes:
        table.add_row(
            Text(outcome.name),
            Text("yes", "green") if outcome.solved else Text(_short(outcome), "yellow"),
            "—" if outcome.confidence is None else f"{outcome.confidence:.2f}",
            f"{outcome.seconds:.1f}",
            str(outcome.entries),
            {None: "—", True: "verified", False: "DOES NOT HOLD"}[outcome.receipt_holds],
        )
    return table


def _short(outcome: Outcome) -> str:
    if outcome.code is None:
        return "no: nothing delivered"
    return "no: check failed" if outcome.check.passed is False else "not checked"


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Return, honestly, how many were solved, which were not, and why."""
    solved = [outcome for outcome in outcomes if outcome.solved]
    receipts = [outcome for outcome in outcomes if outcome.receipt_holds is not None]
    held = sum(1 for outcome in receipts if outcome.receipt_holds)
    lines = [
        f"{len(solved)} of {len(outcomes)} tasks solved; {len(receipts)} artifacts delivered, {held} receipts verified."
    ]
    wrong = [outcome for outcome in outcomes if outcome.code is not None and not outcome.solved]
    nothing = [outcome for outcome in outcomes if outcome.code is None]
    if wrong:
        lines.append("Delivered, approved and not right by their hidden check (which Grace never saw):")
        lines += [f"  {outcome.name}: {outcome.check.reason or outcome.why}" for outcome in wrong]
    if nothing:
        lines.append("Nothing delivered, rather than something wrong:")
        lines += [f"  {outcome.name}: {outcome.why}" for outcome in nothing]
    return lines
