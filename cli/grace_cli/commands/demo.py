"""`grace demo`: the main job end to end, then ten tasks, then a table."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from grace_cli.stack.home import Home

GUIDANCE: Final = "Keep it simple and readable."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    tasks: Annotated[Path | None, typer.Option(help="A folder of tasks instead of Grace's own ten.")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="How many of them run at once.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Show the main job: request, approach, guidance, candidates, decision, approval, code, receipt; then many tasks.

    Starts the stack if it does not run, and leaves it running. Exit code 0 when every receipt verified, even if some
    task was not solved.
    """
    from rich.console import Console
    from rich.rule import Rule

    from grace_cli.access import AUDITOR, REQUESTER, REVIEWER, Access, local_key, local_url
    from grace_cli.client import Gateway
    from grace_cli.demo.batch import check_all, count_entries, run_all
    from grace_cli.demo.board import result_table, summary
    from grace_cli.demo.driving import People
    from grace_cli.demo.task_files import own_tasks, tasks_in
    from grace_cli.demo.walk import FIBONACCI_TASK, Walk
    from grace_cli.stack.home import find_home

    if os.environ.get("GRACE_URL"):
        raise CliError(
            "the demo acts as two people, and GRACE_API_KEY is the key of one",
            "unset GRACE_URL to run it on this machine",
            Exit.USAGE,
        )
    console = Console(stderr=as_json)
    chosen = own_tasks() if tasks is None else tasks_in(tasks)
    home = find_home(os.environ, Path.cwd())
    _start(console, home)
    with ExitStack() as opened:
        requester, reviewer, auditor = (
            opened.enter_context(Gateway(Access(local_url(home), local_key(home, user))))
            for user in (REQUESTER, REVIEWER, AUDITOR)
        )
        people = People(requester, reviewer, home.publication / "vkey")
        first = Walk(console, people, home.state("demo")).run()
        console.print()
        console.print(
            Rule(f"[bold]{len(chosen)} tasks[/bold] · {at_once} at once, guided and approved by grace", align="left")
        )
        outcomes = [first, *run_all(console, people, chosen, at_once, GUIDANCE)]
        check_all(outcomes, [FIBONACCI_TASK, *chosen])
        count_entries(auditor, outcomes)
    console.print(result_table(outcomes))
    for line in summary(outcomes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print("Grace goes on running; what it delivered stays. Stop it: grace down", highlight=False)
    if as_json:
        print_json({"outcomes": [outcome.as_json() for outcome in outcomes]})
    unproven = [outcome.name for outcome in outcomes if outcome.code is not None and not outcome.receipt_holds]
    if unproven:
        raise CliError(f"not every receipt verified: {', '.join(unproven)}", "check: grace ledger verify --local")


def _start(console: "Console", home: "Home") -> None:
    """Start the local stack unless it runs."""
    from grace_cli.stack.lifecycle import UP_TIMEOUT_S, up
    from grace_cli.stack.prerequisites import sandbox_advice
    from grace_cli.stack.progress import for_terminal
    from grace_cli.stack.watch import Watch

    reporter = for_terminal()
    if advice := sandbox_advice():
        reporter.say(advice)
    with Watch(console, "Starting Grace") as watch:
        began = up(home, os.environ, reporter, timeout_s=UP_TIMEOUT_S, watch=watch.show)
    said = "was running already" if began.already else "is running: Kafka, PostgreSQL and the services"
    console.print(f"Grace {said}, at {began.status.url}", highlight=False)
