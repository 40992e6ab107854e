"""`grace schemas`: the contracts that the gateway works by."""

from typing import Annotated

import typer

from grace_cli.options import AsJson, AsUser, print_json


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="The contracts: JSON Schemas and examples.")
    group.command("list")(list_schemas)
    group.command()(show)
    app.add_typer(group, name="schemas")


def list_schemas(as_user: AsUser = None, as_json: AsJson = False) -> None:
    """List the schema and example files by path."""
    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    with connect(as_user, AUDITOR) as gateway:
        items = gateway.get("/api/schemas")["items"]
    if as_json:
        print_json({"items": items})
    else:
        print("\n".join(item["path"] for item in items))


def show(
    path: Annotated[str, typer.Argument(help="As `grace schemas list` shows it.")],
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Print one schema or example, which is JSON with and without --json."""
    import json

    from grace_cli.access import AUDITOR
    from grace_cli.client import connect

    with connect(as_user, AUDITOR) as gateway:
        content = gateway.get(f"/api/schemas/{path}")
    if as_json:
        print_json(content)
    else:
        print(json.dumps(content, indent=2, ensure_ascii=False))
