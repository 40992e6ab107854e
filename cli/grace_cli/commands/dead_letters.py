"""`grace dead-letters`: records that had no effect, why, and handling one again."""

import base64
from typing import Annotated, Any

import typer

from grace_cli.options import AsJson, AsUser, Limit, print_json


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Records that had no effect.")
    group.command("list")(list_dead_letters)
    group.command()(show)
    group.command()(replay)
    app.add_typer(group, name="dead-letters")


RefusalId = Annotated[str, typer.Argument(help="The refusal's id, as `grace dead-letters list` shows it.")]


def list_dead_letters(
    consumer: Annotated[str | None, typer.Option(help="Only those that this service refused.")] = None,
    limit: Limit = 50,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List them, newest first, each with its reason."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect
    from grace_cli.tables import print_table

    with connect(as_user, OPERATOR) as gateway:
        items = list(gateway.items("/api/governance/dead-letters", most=limit, consumer=consumer))
    if as_json:
        print_json({"items": items})
        return
    print_table(
        ("refusal", "at", "consumer", "topic", "code", "reason"),
        ((i["refusal_id"], i["at"], i["consumer"], i["topic"], i["code"], i["reason"]) for i in items),
        nothing="nothing was refused",
    )


def show(refusal: RefusalId, as_user: AsUser = None, as_json: AsJson = False) -> None:
    """Show a record whole, once for each service that refused it."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    with connect(as_user, OPERATOR) as gateway:
        items = gateway.get(f"/api/governance/dead-letters/{refusal}")["items"]
    if as_json:
        print_json({"items": items})
        return
    for item in items:
        for name, value in item.items():
            print(f"{name:12} {_readable(name, value)}")
        print()


def replay(
    refusal: RefusalId,
    consumer: Annotated[str | None, typer.Option(help="Which service; needed when several refused it.")] = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Have a record handled again by the service that refused it, from its place in its topic."""
    from grace_cli.access import OPERATOR
    from grace_cli.client import connect

    with connect(as_user, OPERATOR) as gateway:
        answer = gateway.post(f"/api/governance/dead-letters/{refusal}/replay", {"consumer": consumer})
    if as_json:
        print_json(answer)
    else:
        print(f"{answer.get('consumer') or 'the service'} will handle it again")


def _readable(name: str, value: Any) -> str:
    """Return a field for people: bytes, which come in base64, as text where they are text."""
    if name in ("value", "key") and isinstance(value, str):
        return base64.b64decode(value).decode(errors="backslashreplace")
    return "" if value is None else str(value)
