"""`grace submit` and `grace watch`: asking for code, and following what becomes of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, print_json

if TYPE_CHECKING:
    from grace_cli.story import Story


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command()(submit)
    app.command()(watch)


def submit(
    requirements: Annotated[str | None, typer.Argument(help="What the function shall do.")] = None,
    entry_point: Annotated[str | None, typer.Option(help="The function's name.")] = None,
    signature: Annotated[str | None, typer.Option(help="Such as 'def area(width: int) -> int:'.")] = None,
    language: Annotated[str | None, typer.Option(help="python, unless the gateway knows others.")] = None,
    example: Annotated[list[str] | None, typer.Option(help="'[1, 2], 3 => 4'; repeatable.")] = None,
    examples: Annotated[Path | None, typer.Option(help="A file of examples: one per line, or JSON.")] = None,
    tests: Annotated[Path | None, typer.Option(help="A Python file with check(candidate) or asserts.")] = None,
    file: Annotated[Path | None, typer.Option(help="A task as JSON; options given besides win.")] = None,
    autonomous: Annotated[bool, typer.Option("--autonomous", help="Go as far as policy allows by itself.")] = False,
    candidates: Annotated[int | None, typer.Option(min=1, max=40, help="How many a round tries for.")] = None,
    deadline: Annotated[int | None, typer.Option(min=10, max=604_800, help="Seconds until it fails.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it until it ends or needs a person.")] = False,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask for code. Exit code 0 means that the task is durable; with --wait, 1 means that it failed."""
    from grace_cli.access import REQUESTER
    from grace_cli.client import connect
    from grace_cli.specification import read_example, read_examples, read_task, read_text

    request = read_task(file) if file is not None else {}
    given = [read_example(line) for line in example or []] + (read_examples(examples) if examples else [])
    options = {
        "requirements": requirements,
        "entry_point": entry_point,
        "signature": signature,
        "language": language,
        "examples": given or None,
        "tests": read_text(tests) if tests else None,
        "mode": "autonomous" if autonomous else None,
        "candidates": candidates,
        "deadline_s": deadline,
    }
    request |= {name: value for name, value in options.items() if value is not None}
    if "requirements" not in request:
        raise CliError("nothing is asked for", "grace submit 'Create a function to …', or --file task.json", Exit.USAGE)
    with connect(as_user, REQUESTER) as gateway:
        from grace_cli.following import needs_person

        view = gateway.post("/api/tasks", request)
        if wait:
            if not as_json:
                print(f"task {view['id']}")
            finish(_follow(gateway, view, as_json, needs_person), as_json)
        elif as_json:
            print_json(view)
        else:
            print(f"task {view['id']} is taken on\n  follow it: grace watch {view['id']}")


def watch(
    task: Annotated[str, typer.Argument(help="The task's id.")],
    as_user: AsUser = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one fact a line, then the outcome.")] = False,
) -> None:
    """Follow a task live until it ends; Ctrl-C stops watching, never the task. Exit code 1 when it failed."""
    from grace_cli.access import REVIEWER
    from grace_cli.client import connect

    with connect(as_user, REVIEWER) as gateway:
        finish(_follow(gateway, gateway.get(f"/api/tasks/{task}"), as_json, lambda story: story.has_ended), as_json)


def _follow(gateway: Any, view: dict[str, Any], as_json: bool, until: Any) -> "Story":
    from rich.console import Console

    from grace_cli.display import display_for, picture
    from grace_cli.following import watch
    from grace_cli.story import Story

    story = Story.of_view(view)
    if not as_json and (story.candidates or story.has_ended):
        Console().print(picture(story))
    with display_for(as_json) as display:
        return watch(gateway, story, display, until)


def finish(story: "Story", as_json: bool) -> None:
    """Say how a followed task stands; end with code 1 when it ended without an artifact."""
    from rich.console import Console

    from grace_cli.display import code_panel

    if as_json:
        outcome = {"task_id": story.task_id, "state": story.state, "waiting_for": story.waiting_for}
        print_json(outcome | {"ended": story.ended})
    elif story.artifact is not None:
        Console().print(code_panel(story.artifact["code"], story.artifact["entry_point"]))
        print(f"receipt: grace receipt get {story.task_id} -o receipt.json --code {story.artifact['entry_point']}.py")
    elif story.waiting_for == "guidance":
        print(f"it waits for guidance: grace guide {story.task_id} 'your guidance'   (none: go on as proposed)")
    elif story.waiting_for == "approval":
        print(f"it waits for another person's approval: grace approve {story.task_id}")
    if story.state in ("failed", "cancelled"):
        if not as_json:
            reason = (story.ended or {}).get("reason") or "no reason was given"
            raise CliError(f"the task {story.state}: {reason}", f"the whole story: grace tasks {story.task_id}")
        raise typer.Exit(Exit.FAILED)
