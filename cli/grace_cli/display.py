"""What a person sees of a task: a live table on a terminal, plain lines elsewhere, facts as JSON for programs."""

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from grace_cli.options import print_json
from grace_cli.story import Candidate, Story


class Display(Protocol):
    """Where a story is shown while it happens."""

    def show(self, story: Story, name: str, fact: Mapping[str, Any]) -> None:
        """Show what a fact, which the story has taken in, brought; `name` is its type's name."""


class JsonLines:
    """One fact a line."""

    def show(self, story: Story, name: str, fact: Mapping[str, Any]) -> None:
        print_json(fact)


class Lines:
    """A sentence per fact that a person cares for."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, story: Story, name: str, fact: Mapping[str, Any]) -> None:
        line = sentence(story, name, fact["data"])
        if line:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """The candidates in a table that changes; other news stay as lines above it."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, story: Story, name: str, fact: Mapping[str, Any]) -> None:
        if not name.startswith("candidate-"):
            line = sentence(story, name, fact["data"])
            if line:
                self._live.console.print(line, markup=False, highlight=False)
        self._live.update(picture(story))


@contextmanager
def display_for(as_json: bool, console: Console | None = None, transient: bool = False) -> Iterator[Display]:
    """Open the display that fits standard output.

    transient  whether the live table goes when it is closed, for callers who show the candidates again
    """
    if as_json:
        yield JsonLines()
        return
    console = console or Console()
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, refresh_per_second=8, transient=transient) as live:
        yield LiveTable(live)


def sentence(story: Story, name: str, data: Mapping[str, Any]) -> str | None:
    """Return one fact in words, None for facts of little news to a person."""
    match name:
        case "approach-proposed":
            asked = "".join(f"\n  asks: {question}" for question in data["questions"])
            return f"approach: {data['approach']}\n  signature: {data['signature']}{asked}"
        case "guidance-given":
            return f"{data['by']} guides: {data['guidance'] or '(go on as proposed)'}"
        case "round-opened":
            return f"round {data['number']} begins" + (
                f", after {data['findings'][-1]}" if data.get("findings") else ""
            )
        case "candidate-evaluated":
            candidate = story.candidates[data["candidate_id"]]
            return f"candidate {candidate.ordinal + 1} by {candidate.generator}: {evidence(candidate)}"
        case "candidates-generated":
            took = f"{data['generation_s']:.1f} s to generate, {data['evaluation_s']:.1f} s to evaluate"
            return "\n".join(
                [f"{len(data['rows'])} candidates on {len(data['probes'])} probes ({took})", *data["notes"]]
            )
        case "generation-failed":
            return f"no candidate: {data['reason']}"
        case "decision-reached":
            return "\n".join(decision_lines(story, data))
        case "approval-requested":
            return (
                f"approval needed by {data['required_approvals']} ({data['policy']}): grace approve {story.task_id}\n"
                f"  digest {data['digest']}"
            )
        case "approval-recorded":
            return (
                f"{data['by']} approved; {data['missing']} more needed" if data["missing"] else f"{data['by']} approved"
            )
        case "changes-requested":
            return f"{data['by']} asks for changes: {data['feedback']}"
        case "approval-denied":
            return f"{data['by']} rejected it: {data['reason']}"
        case "request-ignored":
            return f"without effect, {data['request_type']} by {data['by']}: {data['reason']}"
        case "task-completed":
            return (
                f"completed: {data['entry_point']} by {data['generator']}, confidence {data['confidence']:.2f}, "
                f"approved by {', '.join(data['approved_by']) or 'policy alone'}"
            )
        case "task-failed":
            return f"failed: {data['reason']}"
        case "task-cancelled":
            return f"cancelled by {data['by']}" + (f": {data['reason']}" if data["reason"] else "")
    return None


def evidence(candidate: Candidate) -> str:
    """Return a candidate's evidence in words."""
    if candidate.quality is None:
        return "in the sandbox"
    given = f"{candidate.passed} of {(candidate.passed or 0) + (candidate.failed or 0)} given checks"
    failed = candidate.failed_checks
    return f"passes {given}, quality {candidate.quality:.2f}" + (f", fails {', '.join(failed)}" if failed else "")


def decision_lines(story: Story, data: Mapping[str, Any]) -> list[str]:
    """Return the consensus's verdict, its confidence, its dissent and its reasons."""
    if data["verdict"] == "chosen":
        winner = story.candidates.get(data["winner_id"])
        which = f"candidate {winner.ordinal + 1}" if winner else "a candidate"
        lines = [f"the consensus chose {which} with confidence {data['confidence']:.2f} ({data['method']})"]
    else:
        lines = [f"the consensus abstained; confidence {data['confidence']:.2f} ({data['method']})"]
    for dissent in data["dissent"]:
        many = len(dissent["members"])
        lines.append(
            f"  dissent: {many} candidate{'s' * (many > 1)}, weight {dissent['weight']:.2f}: {dissent['differs']}"
        )
    if not data["dissent"] and data["verdict"] == "chosen":
        lines.append(f"  no dissent among {data['candidates']} candidate{'s' * (data['candidates'] != 1)}")
    return lines + [f"  {reason}" for reason in data["reasons"]]


def picture(story: Story) -> RenderableType:
    """Return the task as it stands: a headline and its candidates with their evidence."""
    headline = Text.assemble(
        (story.state.replace("-", " "), "bold"),
        f" · round {story.round}" if story.round else "",
        f" · {story.probes} probes" if story.probes else "",
    )
    return Group(headline, candidate_table(story)) if story.candidates else headline


def candidate_table(story: Story) -> Table:
    """Return the candidates, simplest evidence first: who wrote it, what it passed, its quality, what it is."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("#", no_wrap=True)
    table.add_column("generator", no_wrap=True)
    table.add_column("given", justify="right", no_wrap=True)
    table.add_column("quality", justify="right", no_wrap=True)
    table.add_column("not passed", max_width=30)
    table.add_column("body", no_wrap=True, overflow="ellipsis", ratio=1)
    winner = story.winner
    for candidate in sorted(story.candidates.values(), key=lambda one: (one.round_id, one.ordinal)):
        chosen = winner is not None and candidate.id == winner.id
        table.add_row(
            f"{candidate.ordinal + 1}{' ◀' if chosen else ''}",
            candidate.generator,
            "…"
            if candidate.quality is None
            else f"{candidate.passed}/{(candidate.passed or 0) + (candidate.failed or 0)}",
            "…" if candidate.quality is None else f"{candidate.quality:.2f}",
            ", ".join(candidate.failed_checks) or ("" if candidate.quality is None else "—"),
            escape(body_line(candidate.code)),
            style="bold green" if chosen else "",
        )
    return table


def body_line(code: str) -> str:
    """Return the statements of a candidate's last function on one line: no signature, no docstring, no inner bodies."""
    try:
        functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        functions = []
    lines = code.splitlines()
    if not functions:
        return " ; ".join(line.strip() for line in lines if line.strip())
    function = functions[-1]
    shown: list[str] = []
    for statement in function.body[1:] if ast.get_docstring(function) is not None else function.body:
        if isinstance(statement, ast.FunctionDef):  # where candidates differ is what they do with it
            shown.append(f"def {statement.name}(…)")
        else:
            shown += [line.strip() for line in lines[statement.lineno - 1 : statement.end_lineno] if line.strip()]
    return " ; ".join(shown)


def code_panel(code: str, title: str) -> Panel:
    """Return code with its syntax coloured."""
    return Panel(Syntax(code.rstrip(), "python", theme="ansi_dark", background_color="default"), title=escape(title))


def stdout_is_terminal() -> bool:
    """Return whether a person looks and can answer."""
    return sys.stdout.isatty() and sys.stdin.isatty()
