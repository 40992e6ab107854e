"""Lists as plain tables: aligned on a terminal, never folded or cut elsewhere."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000  # columns: a pipe has no edge


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], nothing: str, console: Console | None = None
) -> None:
    """Print rows under their columns' names, or `nothing` when there are none; None is an empty cell."""
    console = console or Console()
    if not console.is_terminal:
        console.width = UNBOUNDED
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    if table.row_count:
        console.print(table)
    else:
        console.print(nothing, highlight=False)
