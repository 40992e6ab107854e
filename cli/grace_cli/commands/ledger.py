"""`grace ledger`: checking all of it, copying it, searching it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, Limit, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from grace_cli.log_files import FolderLog, WebLog
    from grace_cli.verifying.whole_log import Findings

CORES: Final = len(os.sched_getaffinity(0))
SHOWN: Final = 10  # faults in a message
_KEEP_IT: Final = "keep a copy of it, and tell whoever runs it"
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
    ca: Annotated[
        Path | None, typer.Option("--ca", help="The CA's public key, where the log has no file `ca`.")
    ] = None,
    since: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="A checkpoint saved earlier: the log must continue it.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Begin where the verification with this file ended.")
    ] = None,
    tree_only: Annotated[bool, typer.Option("--tree-only", help="Hashes alone, no entry's signature.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many at once; one per core without it.")] = CORES,
    as_json: AsJson = False,
) -> None:
    """Check the whole log: the checkpoint's signature, every entry, every tile, the root."""
    from functools import partial

    from grace_common.contract.errors import Refused, Unready

    from grace_cli.log_files import described, read_authority, read_checkpoint, read_log_key, signed_checkpoint
    from grace_cli.verifying.chunk import check_files
    from grace_cli.verifying.state import State
    from grace_cli.verifying.whole_log import Verification

    if where is not None and local:
        raise CliError("both a place and --local are named", "name one of them", Exit.USAGE)
    log = _log(where)
    key = read_log_key(log_key, log, str(log))
    state: State | None = None
    try:
        with _progress(as_json) as bar:
            _, checkpoint = signed_checkpoint(log, key)
            bar.begin(checkpoint.size)
            authority = None if tree_only else read_authority(ca, log, checkpoint)
            state = State(
                resume, {"log": str(key.key), "checks": "tree" if authority is None else "all", "of": "files"}
            )
            findings = Verification(
                log,
                checkpoint,
                partial(check_files, log),
                state,
                authority,
                earlier=() if since is None else (read_checkpoint(since, key),),
                processes=processes,
                advance=bar.advance,
            ).run()
    except (Refused, Unready) as error:
        raise CliError(f"the log at {log} is broken: {error}", _KEEP_IT) from error
    finally:
        if state is not None:
            state.close()
    _tell(findings, f"the log at {log}")
    if as_json:
        counts = {"files": findings.files, "older_files": findings.older, "signatures": findings.signatures}
        print_json(described(checkpoint, key) | counts | {"began": findings.began, "verified": True})
        return
    print(f"The log {checkpoint.origin} signed a tree of {checkpoint.size} entries with root {checkpoint.root.hex()}.")
    if findings.began:
        print(f"The first {findings.began} entries were verified before, and are still the first of this log.")
    print(f"Every entry was hashed, and every tile and the root follow from the entries ({findings.files} files).")
    if authority is not None:
        print("Every entry is signed with a key that an earlier one announced for it, up to the CA's.")
    else:
        print("The entries' signatures were not checked" + (" (--tree-only)." if tree_only else ": it names no CA."))
    if since is not None:
        print(f"It continues the tree of {since}.")
    print(key.describe())


def _tell(findings: "Findings", what: str) -> None:
    """Raise CliError when something was found."""
    if not findings.faults:
        return
    faults = sorted(set(findings.faults))
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    raise CliError(f"{what} is broken: {'; '.join(fault.text for fault in faults[:SHOWN])}{more}", _KEEP_IT)


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
        raise CliError(f"the log at {log} is broken: {error}", _KEEP_IT) from error
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
