"""`grace ledger`: checking all of it, copying it, searching it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, Limit, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from grace_cli.log_files import FolderLog, WebLog

LogKeyOption = Annotated[
    str | None,
    typer.Option("--log-key", metavar="VKEY|FILE", help="The log's public key, from elsewhere than the log."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Check, copy and search the ledger.")
    group.command()(verify)
    group.command()(export)
    group.command()(query)
    app.add_typer(group, name="ledger")


def verify(
    where: Annotated[str | None, typer.Argument(metavar="DIR|URL", help="A folder, or an address of /log.")] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine's stack; also when nothing is named.")] = False,
    log_key: LogKeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole log: the checkpoint's signature, every entry's hash, every tile, the root."""
    from grace_common.contract.errors import Refused, Unready

    from grace_cli.log_files import checked_files, described, read_log_key, signed_checkpoint

    if where is not None and local:
        raise CliError("both a place and --local are named", "name one of them", Exit.USAGE)
    log = _log(where)
    key = read_log_key(log_key, log, str(log))
    try:
        with _progress(as_json) as bar:
            _, checkpoint = signed_checkpoint(log, key)
            bar.begin(checkpoint.size)
            files = sum(1 for _ in checked_files(log, checkpoint, bar.advance))
    except (Refused, Unready) as error:
        raise CliError(f"the log at {log} is broken: {error}", "keep a copy of it, and tell whoever runs it") from error
    if as_json:
        print_json(described(checkpoint, key) | {"files": files, "verified": True})
        return
    print(f"The log {checkpoint.origin} signed a tree of {checkpoint.size} entries with root {checkpoint.root.hex()}.")
    print(f"Every entry was hashed, and every tile and the root follow from the entries ({files} files).")
    print(key.describe())


def export(
    folder: Annotated[Path, typer.Argument(help="Where to; new, or an earlier export.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Another log than the local one.")
    ] = None,
    log_key: LogKeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Copy the log as static files: checkpoint, tile/…, tile/entries/…, vkey; checked on the way."""
    from grace_common.contract.errors import Refused, Unready

    from grace_cli.log_files import described, export, read_log_key

    log = _log(source)
    key = read_log_key(log_key, log, str(log))
    try:
        with _progress(as_json) as bar:
            checkpoint = export(log, key, folder, bar.advance, bar.begin)
    except (Refused, Unready) as error:
        raise CliError(f"the log at {log} is broken: {error}", "keep a copy of it, and tell whoever runs it") from error
    if as_json:
        print_json(described(checkpoint, key) | {"folder": str(folder)})
        return
    print(f"{checkpoint.size} entries of {checkpoint.origin} are in {folder}: checkpoint, tile/, tile/entries/, vkey.")
    print(f"check them anywhere: grace ledger verify {folder} --log-key '{key.key}'")


def query(
    operation: Annotated[str | None, typer.Option(help="An operation's id.")] = None,
    task: Annotated[str | None, typer.Option(help="A task's (evaluation's, decision's) id.")] = None,
    actor: Annotated[str | None, typer.Option(help="On whose behalf.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Such as grace.task-submitted.v1.")] = None,
    service: Annotated[str | None, typer.Option(help="Who stated it.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: 2026-11-22T10:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Newest first without it.")] = False,
    limit: Limit = 50,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Search the ledger's entries."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    conditions = {
        "operation_id": operation,
        "task": task,
        "actor": actor,
        "type": type_,
        "service": service,
        "since": since,
        "until": until,
        "order": "oldest" if oldest_first else None,
    }
    with connect(as_user, AUDITOR) as gateway:
        items = list(gateway.items("/api/ledger", most=limit, **conditions))
    if as_json:
        print_json({"items": items})
        return
    from grace_cli.tables import print_table

    print_table(
        ("index", "time", "type", "actor", "service", "operation", "about"),
        (
            (i["index"], i["time"], i["entry_type"], i["actor"], i["service"], i["operation_id"], i["correlation"])
            for i in items
        ),
        nothing="no entry matches",
    )


def _log(where: str | None) -> "FolderLog | WebLog":
    """Return the log at a place: a folder, an address, or, when none is named, that of the gateway in use."""
    import os

    from grace_cli.log_files import FolderLog, WebLog
    from grace_cli.stack.home import find_home

    if where is None:
        if url := os.environ.get("GRACE_URL"):
            return WebLog(f"{url.rstrip('/')}/log")
        return FolderLog(find_home(os.environ, Path.cwd()).publication)
    if where.startswith(("http://", "https://")):
        return WebLog(where)
    if not Path(where).is_dir():
        raise CliError(
            f"{where} is no folder", "name a folder with an exported log, or the address of /log", Exit.USAGE
        )
    return FolderLog(Path(where))


class _Bar:
    """A progress bar over entries."""

    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task
        self.advance: Callable[[int], object] = lambda count: progress.advance(task, count)

    def begin(self, entries: int) -> None:
        """Say how many there are."""
        self._progress.update(self._task, total=entries)


@contextmanager
def _progress(quiet: bool) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        yield _Bar(progress, progress.add_task("entries", total=None))
