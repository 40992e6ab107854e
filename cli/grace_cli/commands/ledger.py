"""`grace ledger`: checking all of it, copying it, searching it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from grace_cli import offline
from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, Limit, WitnessPolicy, print_json

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
    group.command()(redact)
    app.add_typer(group, name="ledger")


def verify(
    where: Annotated[str | None, typer.Argument(metavar="DIR|URL", help="A folder, or an address of /log.")] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine's stack; also when nothing is named.")] = False,
    database: Annotated[
        bool, typer.Option("--database", help="The audit-log's tables: GRACE_DATABASE_URL, else the local stack's.")
    ] = False,
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
    witness_policy: WitnessPolicy = None,
    tree_only: Annotated[bool, typer.Option("--tree-only", help="Hashes alone, no entry's signature.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many at once; one per core without it.")] = CORES,
    as_json: AsJson = False,
) -> None:
    """Check the whole log: the checkpoint, every entry and tile, the root; with --database every row of its tables."""
    from grace_common.contract.errors import Refused, Unready

    from grace_cli.log_files import read_log_key
    from grace_cli.verifying.command import Wanted, verify_database, verify_files

    if (where is not None) + local + database > 1:
        raise CliError("several of a place, --local and --database are named", "name one of them", Exit.USAGE)
    log = _log(where)
    policy = offline.read_policy(witness_policy)
    wanted = Wanted(read_log_key(log_key, log, str(log)), ca, since, resume, tree_only, processes, policy)
    what = "the log's database" if database else f"the log at {log}"
    try:
        with _progress(as_json) as bar:
            if database:
                url, signer_url = _database_urls()
                report = verify_database(url, log, wanted, bar.begin, bar.advance, signer_url)
            else:
                report = verify_files(log, wanted, bar.begin, bar.advance)
    except (Refused, Unready) as error:
        raise CliError(f"{what} is broken: {error}", _KEEP_IT) from error
    _tell(report.findings, what)
    if as_json:
        print_json(report.described())
        return
    for sentence in report.sentences():
        print(sentence)


def _database_urls() -> tuple[str, str | None]:
    """Return where the audit-log's tables and the crypto-signer's are: GRACE_DATABASE_URL's, else the local stack's."""
    from grace_cli.stack.credentials import read_env_file
    from grace_cli.stack.home import find_home
    from grace_cli.stack.provision import named_database

    if url := os.environ.get("GRACE_DATABASE_URL"):
        return named_database(url), named_database(url)
    home = find_home(os.environ, Path.cwd())
    if not (url := read_env_file(home.credentials / "audit-log.env").get("GRACE_DATABASE_URL")):
        raise CliError(
            f"no database is known in {home.root}",
            "start the stack once (grace up), or name a PostgreSQL in GRACE_DATABASE_URL",
            Exit.NOT_RUNNING,
        )
    return url, read_env_file(home.credentials / "crypto-signer.env").get("GRACE_DATABASE_URL")


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


def redact(
    index: Annotated[int, typer.Argument(min=0, help="The entry's index, as `grace ledger query` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; kept for ever, so it must not repeat what is to be removed.")],
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Remove the content of an entry for good; the entry stays in the tree, and the redaction is an entry as well."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    with connect(as_user, OPERATOR) as gateway:
        answer = gateway.post(f"/api/ledger/entries/{index}/redaction", {"reason": reason})
    if as_json:
        print_json(answer)
    else:
        print(f"the redaction of entry {index} is stated; its content goes when that is sealed (a second or so)")


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
