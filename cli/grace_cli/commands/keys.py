"""`grace keys`: certified workload and producer keys, and the keys of this machine's signer (`ceremonies.py`)."""

from typing import Annotated

import typer

from grace_cli import ceremonies
from grace_cli.options import AsJson, AsUser, print_json


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Certified keys, and the signer's own: backup, shares.")
    group.command("list")(list_keys)
    group.command()(show)
    group.command()(revoke)
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
