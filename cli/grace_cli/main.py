"""The `grace` command: every module in `grace_cli/commands/` adds its own subcommands."""

import json
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from grace_cli import commands, offline
from grace_cli.errors import CliError, Exit

if TYPE_CHECKING:
    import typer

EPILOG = (
    "Exit codes: 0 done · 1 failed · 2 wrong usage · 3 the stack is not running · 4 not ready in time · "
    "5 refused (bad input, or not permitted). Every command has --json."
)


def build_app() -> "typer.Typer":
    """Return the application; a command module has one function `register(app)`."""
    import typer

    app = typer.Typer(
        name="grace",
        help="Turn requests for code into code that people can trust, and prove what happened.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def grace() -> None:
        pass  # makes typer expect a subcommand even while there is only one

    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda module: module.name):
        import_module(f"{commands.__name__}.{module.name}").register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not _verified_at_once(words):
            build_app()(args=words, prog_name="grace")
    except CliError as error:
        show_error(error, as_json="--json" in words)
        sys.exit(int(error.code))
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells say it


def _verified_at_once(words: list[str]) -> bool:
    """Run the verifications that must not wait for the command line's framework; False for other words."""
    if words[:2] == ["ledger", "verify"]:
        from grace_cli.verifying import asked

        return asked.verified_at_once(words)
    return offline.verified_at_once(words)


def show_error(error: CliError, as_json: bool) -> None:
    """Say what was found and what to do: one JSON object on standard output, or two lines on standard error."""
    if as_json:
        print(json.dumps({"error": error.message, "advice": error.advice, "code": int(error.code)}))
        return
    print(f"grace: {error.message}", file=sys.stderr)
    if error.advice:
        print(f"       {error.advice}", file=sys.stderr)


if __name__ == "__main__":
    run()


__all__ = ["Exit", "run"]
