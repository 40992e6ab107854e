"""`grace receipt`: fetching a receipt, and verifying one offline. Verifying imports no network and no service code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from grace_cli import offline
from grace_cli.errors import CliError
from grace_cli.options import AsJson, AsUser, RootKey, WitnessPolicy, print_json

RECEIPT_ATTEMPTS = 30  # a receipt comes when the ledger has sealed all of the task, a second or so after its end


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="Fetch receipts, and verify them offline.")
    group.command()(get)
    group.command()(verify)
    app.add_typer(group, name="receipt")


def get(
    task: Annotated[str, typer.Argument(help="The task's id.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to; standard output without it.")] = None,
    code: Annotated[Path | None, typer.Option(help="Write the delivered code here as well.")] = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the receipt of a delivered artifact; waits until the ledger has sealed all of it."""
    from grace_cli.access import REVIEWER
    from grace_cli.client import connect

    with connect(as_user, REVIEWER) as gateway:
        receipt = gateway.read(f"/api/tasks/{task}/receipt", RECEIPT_ATTEMPTS)
        artifact = gateway.read(f"/api/tasks/{task}/artifact") if code is not None else b""
    for path, content in ((output, receipt), (code, artifact)):
        if path is not None:
            try:
                path.write_bytes(content)
            except OSError as error:
                raise CliError(f"{path} cannot be written: {error.strerror}", "name another file") from error
    if output is None:
        sys.stdout.write(receipt.decode())
    elif as_json:
        print_json({"task": task, "receipt": str(output), "code": str(code) if code else None})
    else:
        print(f"the receipt is in {output}" + (f", the code in {code}" if code else ""))
        print(f"verify it offline: grace receipt verify {output} {code or 'CODE'} --log-key VKEY")


def verify(
    receipt: Annotated[Path, typer.Argument(help="The receipt's file.")],
    code: Annotated[Path, typer.Argument(help="The file that it is for.")],
    log_key: Annotated[
        str | None, typer.Option("--log-key", metavar="VKEY|FILE", help="The log's public key, from a place you trust.")
    ] = None,
    witness_key: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A witness's key; repeatable.")] = None,
    quorum: Annotated[int, typer.Option(min=0, help="How many witnesses must have cosigned.")] = 0,
    witness_policy: WitnessPolicy = None,
    root_key: RootKey = None,
    as_json: AsJson = False,
) -> None:
    """Verify a receipt offline: neither network nor Grace is needed. Exit code 1 when it proves nothing."""
    offline.verify(receipt, code, log_key, witness_key or [], quorum, witness_policy, root_key, as_json)
