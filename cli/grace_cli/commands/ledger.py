"""`grace ledger`: checking all of it, copying it, searching it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, Limit, WitnessPolicy, print_json
from grace_cli.verifying import CORES, MOST_PROCESSES

LogKeyOption = Annotated[
    str | None,
    typer.Option("--log-key", metavar="VKEY|FILE", help="The log's public key, from elsewhere than the log."),
]
LogKeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log-key",
        metavar="VKEY|FILE",
        help="The log's public key, from elsewhere than the log; repeatable: keys that it succeeds.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Check, copy and search the ledger.")
    group.command()(verify)
    group.command()(prove)
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
    log_key: LogKeysOption = None,
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
    processes: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="How many at once; one per core without it.")
    ] = CORES,
    as_json: AsJson = False,
) -> None:
    """Check the whole log: the checkpoint, every entry and tile, the root; with --database every row of its tables."""
    from grace_cli.verifying.asked import Asked
    from grace_cli.verifying.asked import verify as verify_as_asked

    if (where is not None) + local + database > 1:
        raise CliError("several of a place, --local and --database are named", "name one of them", Exit.USAGE)
    key, earlier = _keys(log_key)
    asked = Asked(where, database, key, ca, since, resume, witness_policy, tree_only, processes, as_json, earlier)
    verify_as_asked(asked)


def _keys(given: list[str] | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the key that must have signed the newest checkpoint, and those that it succeeds."""
    return (given[0], tuple(given[1:])) if given else (None, ())


def prove(
    entry: Annotated[str, typer.Argument(metavar="INDEX|ID", help="The entry's index; with --database also its id.")],
    where: Annotated[str | None, typer.Argument(metavar="DIR|URL", help="A folder, or an address of /log.")] = None,
    database: Annotated[
        bool, typer.Option("--database", help="The audit-log's tables: GRACE_DATABASE_URL, else the local stack's.")
    ] = False,
    log_key: LogKeyOption = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file; standard output without it.")] = None,
    entry_to: Annotated[
        Path | None, typer.Option("--entry", metavar="FILE", help="Write the proven entry's bytes here as well.")
    ] = None,
) -> None:
    """Prove offline that an entry is in the log: a c2sp.org/tlog-proof@v1 file, verified before it is written."""
    from grace_common.contract.errors import Refused, Unready
    from grace_common.transparency.merkle import ProofInvalid

    from grace_cli.log_files import KEEP_IT, open_log, read_log_key
    from grace_cli.verifying.asked import database_urls
    from grace_cli.verifying.database_log import DatabaseLog
    from grace_cli.verifying.proving import prove_from_files, prove_from_tables

    if where is not None and database:
        raise CliError("a place and --database are named", "name one of them", Exit.USAGE)
    wanted = _index_or_id(entry)
    files = open_log(where)
    key = read_log_key(log_key, files, str(files))
    try:
        if not database:
            if isinstance(wanted, UUID):
                raise CliError("only the tables know an entry's id", "name its index, or --database", Exit.USAGE)
            proof, leaf = prove_from_files(files, key, wanted)
        else:
            with closing(DatabaseLog(database_urls()[0])) as tables:
                proof, leaf = prove_from_tables(tables, key.key, wanted)
    except ProofInvalid as error:
        raise CliError(f"the log is broken: {error}", KEEP_IT) from error
    except (Refused, Unready) as error:
        raise CliError(f"entry {entry} cannot be proven: {error}", "is it in the log already?") from error
    if entry_to is not None:
        entry_to.write_bytes(leaf)
    if output is not None:
        output.write_bytes(proof.encode())
    else:
        print(proof.encode().decode(), end="")


def _index_or_id(entry: str) -> int | UUID:
    try:
        return int(entry) if entry.isdecimal() else UUID(entry)
    except ValueError as error:
        raise CliError(f"{entry!r} is neither an index nor an id", "see grace ledger query", Exit.USAGE) from error


def export(
    folder: Annotated[Path, typer.Argument(help="Where to; new, or an earlier export.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR|URL", help="Another log than the local one.")
    ] = None,
    log_key: LogKeysOption = None,
    as_json: AsJson = False,
) -> None:
    """Copy the log as static files: checkpoint, tile/…, tile/entries/…, vkey; checked on the way."""
    from grace_common.contract.errors import Refused, Unready

    from grace_cli.entries_bar import entries_bar
    from grace_cli.log_files import KEEP_IT, described, export, open_log, read_log_key

    log = open_log(source)
    first, earlier = _keys(log_key)
    key = read_log_key(first, log, str(log), earlier)
    try:
        with entries_bar(as_json) as bar:
            checkpoint = export(log, key, folder, bar.advance, bar.begin)
    except (Refused, Unready) as error:
        raise CliError(f"the log at {log} is broken: {error}", KEEP_IT) from error
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
