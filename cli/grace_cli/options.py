"""Options that several commands have in common, and how their answers are printed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    from grace_common.transparency.policy import Policy

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AsUser = Annotated[
    str | None, typer.Option("--as", metavar="USER", help="Act as this local user: ada, grace, olga or anton.")
]
WitnessPolicy = Annotated[
    Path | None,
    typer.Option("--witness-policy", metavar="FILE", help="A C2SP tlog-policy that the checkpoint must satisfy."),
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]


def read_policy(file: Path | None) -> "Policy | None":
    """Return the witness policy in a file, None for none; raises CliError."""
    from grace_common.contract.errors import Refused
    from grace_common.transparency.policy import Policy

    if file is None:
        return None
    try:
        return Policy.parse(file.read_bytes())
    except (OSError, Refused) as error:
        advice = "log, witness, group and quorum lines: c2sp.org/tlog-policy, docs/cli.md"
        raise CliError(f"{file} is no witness policy: {error}", advice, Exit.USAGE) from error


def print_json(value: Any) -> None:
    """Print a JSON value on one line, as programs like it."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)
