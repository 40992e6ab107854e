"""Options that several commands have in common, and how their answers are printed."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AsUser = Annotated[
    str | None, typer.Option("--as", metavar="USER", help="Act as this local user: ada, grace, olga or anton.")
]
WitnessPolicy = Annotated[
    Path | None,
    typer.Option("--witness-policy", metavar="FILE", help="A C2SP tlog-policy that the checkpoint must satisfy."),
]
RootKey = Annotated[
    str | None,
    typer.Option("--root-key", metavar="KEY|FILE", help="The root's public key, which must stand behind all keys."),
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]


def print_json(value: Any) -> None:
    """Print a JSON value on one line, as programs like it."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)
