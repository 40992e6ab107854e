"""`grace keys`: certified workload and producer keys, and the keys of this machine's signer (`ceremonies.py`)."""

from typing import Annotated, Any

import typer

from grace_cli import ceremonies
from grace_cli.options import AsJson, AsUser, Limit, print_json


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
    key_id: Annotated[str, typer.Argument(help="Its id.")],
    since: Annotated[
        str | None, typer.Option(help="When it fell into wrong hands: 2026-11-22T10:00:00Z; else since it held.")
    ] = None,
    limit: Limit = 1_000,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List the ledger's entries that a key may have sealed: its owner's, from a time until its revocation or end."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    with connect(as_user, AUDITOR) as gateway:
        found = gateway.get(f"/api/keys/{key_id}")
        begin, end = since or found["not_before"], found["revoked_at"] or found["not_after"]
        kind, _, name = found["subject"].rpartition("/")
        # What an outside producer asked for, the gateway states on its behalf.
        owner = {"actor": name} if kind == "producer" else {"service": name}
        conditions = {**owner, "since": begin, "until": end, "order": "oldest"}
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
