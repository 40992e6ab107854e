"""`grace up`, `grace down`, `grace status`: the local stack."""

import json
import os
from datetime import UTC, datetime
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
    from rich.console import Console

    from grace_cli.stack.lifecycle import running_status, start_in_foreground, up
    from grace_cli.stack.prerequisites import sandbox_advice
    from grace_cli.stack.progress import for_terminal
    from grace_cli.stack.watch import Watch

    home, reporter = _home(), for_terminal(quiet=as_json)
    advice = sandbox_advice()
    if advice:
        reporter.say(advice)
    if foreground:
        reporter.say("Grace runs in this terminal: Ctrl-C stops it, grace status in another one shows it.")
        start_in_foreground(home, os.environ, reporter)
    watch = Watch(Console(stderr=True, quiet=as_json), "Starting Grace")
    try:
        with watch:
            started = up(home, os.environ, reporter, timeout_s=timeout, watch=watch.show)
    except KeyboardInterrupt:
        if running_status(home) is not None:
            reporter.say("Grace goes on starting in the background; grace status shows it, grace down stops it.")
        raise
    keys = home.credentials / "api-keys.json"
    if as_json:
        print(json.dumps(started.status.as_json() | {"already": started.already, "credentials": str(home.credentials)}))
        return
    how = "Grace was running already." if started.already else f"Grace is running. Ready in {watch.seconds:.0f} s."
    out = Console(highlight=False, soft_wrap=True)
    out.print(how, style="" if started.already else "bold green")
    facts = {
        "API": f"{started.status.url} (described at {started.status.url}/docs)",
        "API keys": f"{keys}",
        "credentials": f"{home.credentials} (mode 0600)",
        "logs": f"{home.logs}",
    }
    for name, value in facts.items():
        out.print(f"  {name:<12} {value}", markup=False)
    for note in started.status.notes:
        out.print(f"  note         {note}", markup=False, style="dim")
    out.print("Next: grace demo, grace submit --help; grace status shows every process, grace down stops them.")


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Remove all state as well: records, keys, programs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop everything, and check that no process is left."""
    from rich.console import Console

    from grace_cli.stack import lifecycle
    from grace_cli.stack.watch import Watch

    home = _home()
    with Watch(Console(stderr=True, quiet=as_json), "Stopping Grace") as watch:
        stopped = lifecycle.down(home, watch=watch.show)
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

        out = Console(highlight=False)
        out.print(
            f"Grace {_state_of(found)}, at {found.url}" if found.url else f"Grace {_state_of(found)}", soft_wrap=True
        )
        out.print(table(found, datetime.now(UTC)))
    if not found.ready:
        raise typer.Exit(Exit.NOT_READY)


def table(status: "StackStatus", now: datetime) -> "Table":
    """Return the stack as a table; it tells of restarts when there were any."""
    from rich.table import Table
    from rich.text import Text

    from grace_cli.stack.watch import STYLES, doing

    restarted = ("restarts", "last exit") if any(child.restarts for child in status.children) else ()
    shown = Table(box=None, pad_edge=False, header_style="dim")
    shown.add_column("process", no_wrap=True)
    shown.add_column("state", overflow="fold")
    for number in ("for", "pid", "port", *restarted):
        shown.add_column(number, justify="right", no_wrap=True)
    for child in status.children:
        state, what = doing(child, status.stopping)
        numbers = (child.pid, child.port, *((child.restarts, child.last_exit) if restarted else ()))
        cells = ("" if cell is None else str(cell) for cell in numbers)
        shown.add_row(child.name, Text(what, STYLES.get(state, "yellow")), age(child.since, now), *cells)
    return shown


def age(since: str, now: datetime) -> str:
    """Return how long ago a moment was, in the largest fitting unit: `42 s`, `3 min`, `5 h`, `2 d`; empty for none."""
    if not since:
        return ""
    seconds = max(0, round((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _state_of(status: "StackStatus") -> str:
    if status.stopping:
        return "is stopping"
    return "is running" if status.ready else "is not ready"


def _home() -> "Home":
    from grace_cli.stack.home import find_home

    return find_home(os.environ, Path.cwd())
