"""`grace tasks`, and what people say to a task: `guide`, `approve`, `changes`, `reject`, `cancel`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from grace_cli.errors import CliError, Exit
from grace_cli.options import AsJson, AsUser, Limit, print_json

if TYPE_CHECKING:
    from grace_cli.client import Gateway

TaskId = Annotated[str, typer.Argument(help="The task's id.")]
Digest = Annotated[str | None, typer.Option(help="The exact digest judged; without it you are shown it and asked.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (tasks, guide, approve, changes, reject, cancel):
        app.command()(command)


def tasks(
    task: Annotated[str | None, typer.Argument(help="Show this one whole.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state, such as awaiting-approval.")] = None,
    requester: Annotated[str | None, typer.Option(help="Only this requester's.")] = None,
    limit: Limit = 20,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first, or show one."""
    from grace_cli.access import REVIEWER
    from grace_cli.client import connect

    with connect(as_user, REVIEWER) as gateway:
        if task is not None:
            view = gateway.get(f"/api/tasks/{task}")
            if as_json:
                print_json(view)
            else:
                _show(view)
            return
        items = list(gateway.items("/api/tasks", most=limit, state=state, requester=requester))
    if as_json:
        print_json({"items": items})
        return
    from grace_cli.tables import print_table

    print_table(
        ("task", "state", "waits for", "requester", "submitted", "title"),
        ((i["id"], i["state"], i["waiting_for"], i["requester"], i["submitted_at"], i["title"]) for i in items),
        nothing="there are no such tasks; ask for one: grace submit 'Create a function to …'",
    )


def guide(
    task: TaskId,
    guidance: Annotated[str, typer.Argument(help="What to heed; nothing lets it go on as proposed.")] = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Answer the proposed approach of a collaborative task."""
    from grace_cli.access import REQUESTER

    _say(task, "guidance", {"guidance": guidance}, as_user or None, REQUESTER, as_json, "guidance is given")


def approve(
    task: TaskId,
    digest: Digest = None,
    comment: Annotated[str, typer.Option(help="Kept with the approval.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve what is up for approval now, without being asked.")
    ] = False,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Approve the exact digest of (code, evaluation report, decision). The requester's own approval never counts."""
    from grace_cli.access import REVIEWER
    from grace_cli.client import connect

    with connect(as_user, REVIEWER) as gateway:
        judged = digest or _judge(gateway, task, yes, as_json, "approve")
        answer = gateway.post(f"/api/tasks/{task}/approval", {"digest": judged, "comment": comment})
    _done(answer | {"digest": judged}, as_json, f"approved {judged}\n  follow it: grace watch {task}")


def changes(
    task: TaskId,
    feedback: Annotated[str, typer.Argument(help="What the next round must heed.")],
    digest: Digest = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Ask for another round with this feedback."""
    _review(task, "changes", {"feedback": feedback}, digest, as_user, as_json, "another round is asked for")


def reject(
    task: TaskId,
    reason: Annotated[str, typer.Argument(help="Why; kept in the ledger.")],
    digest: Digest = None,
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Reject the result for good; the task fails."""
    _review(task, "rejection", {"reason": reason}, digest, as_user, as_json, "rejected")


def cancel(
    task: TaskId,
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "",
    as_user: AsUser = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a task that has not ended (the requester, or an operator with --as olga)."""
    from grace_cli.access import REQUESTER

    _say(task, "cancellation", {"reason": reason}, as_user, REQUESTER, as_json, "cancellation is asked for")


def _review(
    task: str, path: str, body: dict[str, Any], digest: str | None, user: str | None, as_json: bool, done: str
) -> None:
    """Judge what is up for review now; unlike an approval this vouches for nothing, so nobody is asked again."""
    from grace_cli.access import REVIEWER
    from grace_cli.client import connect

    with connect(user, REVIEWER) as gateway:
        judged = digest or _pending(gateway, task)["approval"]["digest"]
        answer = gateway.post(f"/api/tasks/{task}/{path}", body | {"digest": judged})
    _done(answer | {"digest": judged}, as_json, f"{done}\n  follow it: grace watch {task}")


def _say(task: str, path: str, body: dict[str, Any], user: str | None, usual: str, as_json: bool, done: str) -> None:
    from grace_cli.client import connect

    with connect(user, usual) as gateway:
        answer = gateway.post(f"/api/tasks/{task}/{path}", body)
    _done(answer, as_json, f"{done}\n  follow it: grace watch {task}")


def _done(answer: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(answer)
    else:
        print(text)


def _pending(gateway: "Gateway", task: str) -> dict[str, Any]:
    """Return the view of a task that is up for approval; raises CliError for any other."""
    view = gateway.get(f"/api/tasks/{task}")
    if view["waiting_for"] != "approval":
        raise CliError(
            f"nothing is up for approval: the task is {view['state']}", f"follow it: grace watch {task}", Exit.REFUSED
        )
    return view


def _judge(gateway: "Gateway", task: str, yes: bool, as_json: bool, verb: str) -> str:
    """Return the digest that is up for approval, once the person has seen what it stands for and said yes.

    raises  CliError when nobody can be asked, or the answer is no
    """
    from grace_cli.display import stdout_is_terminal

    view = _pending(gateway, task)
    digest: str = view["approval"]["digest"]
    if not as_json:
        _show(view)
    if yes:
        return digest
    if as_json or not stdout_is_terminal():
        raise CliError(
            f"nobody can be asked here whether to {verb} {digest}",
            f"read it, then: grace {verb} {task} --digest {digest}",
            Exit.USAGE,
        )
    if not typer.confirm(f"{verb} exactly this (digest {digest[:16]}…)?"):
        raise CliError("nothing was done", f"to have it changed: grace changes {task} 'what to change'", Exit.FAILED)
    return digest


def _show(view: dict[str, Any]) -> None:
    """Print a task: what was asked, its candidates, its decision, what is up for approval or was delivered."""
    from rich.console import Console
    from rich.markup import escape

    from grace_cli.display import code_panel, decision_lines, picture
    from grace_cli.story import Story

    story, console = Story.of_view(view), Console()
    console.print(f"[bold]{escape(view['specification']['requirements'])}[/bold]")
    console.print(
        f"task {view['id']} by {view['requester']}, {view['mode']}, {view['submitted_at']}",
        highlight=False,
        soft_wrap=True,
    )
    if story.approach is not None:
        console.print(f"approach: {story.approach['approach']}", markup=False, highlight=False, soft_wrap=True)
    console.print(picture(story))
    if story.decision is not None:
        console.print("\n".join(decision_lines(story, story.decision)), markup=False, highlight=False, soft_wrap=True)
    if story.artifact is not None:
        console.print(code_panel(story.artifact["code"], story.artifact["entry_point"]))
    elif story.winner is not None:
        console.print(code_panel(story.winner.code, "up for approval" if story.waiting_for else "chosen"))
    if story.approval is not None and story.waiting_for == "approval":
        console.print(
            f"digest {story.approval['digest']} ({story.approval['policy']})", highlight=False, soft_wrap=True
        )
    if story.ended is not None and story.artifact is None:
        console.print(f"{story.state}: {story.ended.get('reason', '')}", markup=False, highlight=False, soft_wrap=True)
