"""`grace keys`: certified workload and producer keys, and the keys of this machine's signer (`ceremonies.py`)."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grace_cli import ceremonies
from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, print_json

if TYPE_CHECKING:
    from grace_cli.affected import AffectedEntry


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Certified keys, and the signer's own: backup, shares.")
    group.command("list")(list_keys)
    group.command()(show)
    group.command()(revoke)
    group.command()(affected)
    for command in (
        ceremonies.status,
        ceremonies.split,
        ceremonies.passphrase,
        ceremonies.backup,
        ceremonies.restore,
        ceremonies.drill,
        ceremonies.unseal,
        ceremonies.renew,
        ceremonies.rotate,
        ceremonies.retire,
        ceremonies.directory,
    ):
        group.command()(command)
    app.add_typer(group, name="keys")


def list_keys(
    subject: Annotated[
        str | None, typer.Option(help="Only of this subject: service/gateway, producer/build-farm.")
    ] = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List every certified key, revoked ones included."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect
    from grace_cli.tables import print_table

    with connect(as_user, AUDITOR) as gateway:
        items = gateway.get("/api/keys", subject=subject)["items"]
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("key id", "subject", "roles", "valid until", "revoked"),
        ((i["key_id"], i["subject"], " ".join(i["roles"]), i["not_after"], i["revoked_at"]) for i in items),
        nothing="no key is certified (yet)",
    )


def show(
    key_id: Annotated[str, typer.Argument(help="Its id.")], as_user: AsUser = None, as_json: AsJson = False
) -> None:
    """Show one key with its certificate."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    with connect(as_user, AUDITOR) as gateway:
        found = gateway.get(f"/api/keys/{key_id}")
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if name != "certificate":
            print(f"{name:12} {' '.join(value) if isinstance(value, list) else '' if value is None else value}")
    print("-----BEGIN CERTIFICATE-----")
    for start in range(0, len(found["certificate"]), 64):
        print(found["certificate"][start : start + 64])
    print("-----END CERTIFICATE-----")


def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a key: whatever it seals from now on is refused."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    with connect(as_user, OPERATOR) as gateway:
        answer = gateway.post(f"/api/keys/{key_id}/revocation", {"reason": reason})
    if as_json:
        print_json(answer)
    else:
        print(f"revocation of {key_id} is stated; it shows in `grace keys show {key_id}` once the signer has acted")


def affected(
    key_id: Annotated[str, typer.Argument(help="The id of any key, or epoch:N for the seed of that number.")],
    since: Annotated[
        str | None, typer.Option(help="When it fell into wrong hands: 2026-11-22T10:00:00Z; else from the beginning.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="DIR|URL", help="Where the log is; the local one without it.")
    ] = None,
    producer: Annotated[
        bool, typer.Option("--producer", help="It is an outside producer's: what was asked for in its name.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="With --producer: how many at the most; 1,000 without it.")
    ] = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List the entries of the log that rest on a key: sealed with it, signed with it, or with one derived from it."""
    from grace_cli.tables import print_table

    if producer:
        if log is not None:
            raise CliError("--log and --producer are named", "a producer's are asked of the gateway", Exit.USAGE)
        _affected_by_owner(key_id, since, limit or 1_000, as_user, as_json)
        return
    if limit is not None:
        raise CliError("--limit is for --producer", "all entries that rest on a key are listed", Exit.USAGE)
    items = _affected(key_id, since, log)
    if as_json:
        print_json({"key_id": key_id, "since": since, "items": [asdict(item) for item in items]})
        return
    print_table(
        ("index", "how", "time", "type", "actor", "about"),
        ((i.index, i.how, i.time, i.entry_type, i.actor, i.correlation) for i in items),
        nothing=f"no entry of the log rests on {key_id}",
    )


def _affected(key_id: str, since: str | None, where: str | None) -> "list[AffectedEntry]":
    from datetime import datetime

    from grace_common.contract.errors import Refused, Unready

    from grace_cli.affected import EPOCH, affected_entries
    from grace_cli.log_files import open_log, read_log_key, signed_checkpoint

    if key_id.startswith(EPOCH) and not key_id.removeprefix(EPOCH).isdecimal():
        raise CliError(f"{key_id} is no epoch", "epoch:3, for example", Exit.USAGE)
    try:
        begin = datetime.fromisoformat(since) if since is not None else None
        if begin is not None and begin.tzinfo is None:
            raise ValueError("it names no timezone")
    except ValueError as error:
        raise CliError(f"--since {since}: {error}", "2026-11-22T10:00:00Z, for example", Exit.USAGE) from error
    files = open_log(where)
    try:
        _, checkpoint = signed_checkpoint(files, read_log_key(None, files, str(files)))
        return list(affected_entries(files, checkpoint, key_id, begin))
    except (Refused, Unready) as error:
        raise CliError(f"the log at {files} cannot be read: {error}", "grace ledger verify says more") from error


def _affected_by_owner(key_id: str, since: str | None, limit: int, as_user: str | None, as_json: bool) -> None:
    """List what the gateway stated on behalf of an outside producer while its key held."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    with connect(as_user, AUDITOR) as gateway:
        found = gateway.get(f"/api/keys/{key_id}")
        begin, end = since or found["not_before"], found["revoked_at"] or found["not_after"]
        name = found["subject"].rpartition("/")[2]
        conditions = {"actor": name, "since": begin, "until": end, "order": "oldest"}
        items = list(gateway.items("/api/ledger", most=limit, **conditions))
        others = [
            other["key_id"]
            for other in gateway.get("/api/keys", subject=found["subject"])["items"]
            if other["key_id"] != key_id and _overlap(other, begin, end)
        ]
    if as_json:
        print_json({"key_id": key_id, "since": begin, "until": end, "other_keys": others, "items": items})
        return
    from grace_cli.tables import print_table

    print_table(
        ("index", "time", "type", "actor", "about"),
        ((i["index"], i["time"], i["entry_type"], i["actor"], i["correlation"]) for i in items),
        nothing=f"no entry of {found['subject']} from {begin} until {end}",
    )
    if others:
        print(f"{found['subject']} had other keys in that time as well ({', '.join(others)}): some entries are theirs")


def _overlap(key: dict[str, Any], begin: str, end: str) -> bool:
    """Tell whether a key held at some moment between two times."""
    from datetime import datetime

    first, last = (
        datetime.fromisoformat(key["not_before"]),
        datetime.fromisoformat(key["revoked_at"] or key["not_after"]),
    )
    return first < datetime.fromisoformat(end) and datetime.fromisoformat(begin) < last
