"""`grace up`, `grace down`, `grace status`: the local stack."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    from rich.table import Table

    from grace_cli.stack.home import Home
    from grace_cli.stack.status import StackStatus

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    timeout: Annotated[float, typer.Option(help="Seconds to wait until all is ready.")] = 180.0,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops the stack.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start Kafka, PostgreSQL and all services in the background, and wait until they are ready."""
    from grace_cli.stack.lifecycle import start_in_foreground, up
    from grace_cli.stack.prerequisites import sandbox_advice
    from grace_cli.stack.progress import for_terminal

    home, reporter = _home(), for_terminal(quiet=as_json)
    advice = sandbox_advice()
    if advice:
        reporter.say(advice)
    if foreground:
        start_in_foreground(home, os.environ, reporter)
    with _Watch(as_json) as watch:
        started = up(home, os.environ, reporter, timeout_s=timeout, watch=watch.show)
    keys = home.credentials / "api-keys.json"
    if as_json:
        print(json.dumps(started.status.as_json() | {"already": started.already, "credentials": str(home.credentials)}))
        return
    print("Grace was running already." if started.already else "Grace is running.")
    for note in started.status.notes:
        print(f"  note         {note}")
    print(f"  console      {started.status.url}")
    print(f"  API keys     {keys}")
    print(f"  credentials  {home.credentials} (mode 0600)")
    print(f"  logs         {home.logs}")


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove all state as well: records, keys, programs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop everything, and check that no process is left."""
    from grace_cli.stack import lifecycle

    home = _home()
    stopped = lifecycle.down(home)
    if purge:
        lifecycle.purge(home)
    if as_json:
        print(json.dumps({"stopped": stopped, "purged": purge}))
    else:
        print("Grace has stopped; no process is left." if stopped else "Grace was not running.")
        if purge:
            print(f"{home.root} is removed.")


def status(as_json: AsJson = False) -> None:
    """Show every process: state, restarts, last exit. Exit code 3 when nothing runs, 4 when not all is ready."""
    from grace_cli.stack.lifecycle import running_status

    home = _home()
    found = running_status(home)
    if found is None:
        raise CliError(f"Grace is not running (state folder {home.root})", "start it: grace up", Exit.NOT_RUNNING)
    if as_json:
        print(json.dumps(found.as_json()))
    else:
        from rich.console import Console

        Console().print(table(found))
    if not found.ready:
        raise typer.Exit(Exit.NOT_READY)


def table(status: "StackStatus") -> "Table":
    """Return the stack as a table."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False)
    for column in ("process", "state", "pid", "port", "restarts", "last exit", "since", ""):
        shown.add_column(column)
    for child in status.children:
        cells = (child.pid, child.port, child.restarts, child.last_exit)
        numbers = ("" if cell is None else str(cell) for cell in cells)
        shown.add_row(child.name, child.state.value, *numbers, child.since, child.detail)
    return shown


class _Watch:
    """Shows the start: a table that changes on a terminal, a line for each change elsewhere, nothing for `--json`."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._quiet = quiet
        self._seen: dict[str, str] = {}
        self._live = Live(console=Console(stderr=True)) if sys.stderr.isatty() and not quiet else None

    def show(self, status: "StackStatus") -> None:
        from grace_cli.stack.lifecycle import follow

        lines = follow(self._seen, status)
        if self._live is not None:
            self._live.update(table(status))
        elif not self._quiet:
            for line in lines:
                print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> "_Watch":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()


def _home() -> "Home":
    from grace_cli.stack.home import find_home

    return find_home(os.environ, Path.cwd())
