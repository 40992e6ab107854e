"""Taking a task through its whole life as two people would: one asks, another guides and approves."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from grace_common.contract.errors import Refused
from grace_common.transparency.receipt import Findings, verify_receipt

from grace_cli.client import Gateway
from grace_cli.demo.hidden_check import CheckResult
from grace_cli.display import Display
from grace_cli.errors import CliError
from grace_cli.following import news
from grace_cli.story import Story

RECEIPT_ATTEMPTS: Final = 60


@dataclass(frozen=True, slots=True)
class People:
    """The requester, the second person who reviews, and the file with the log's public key that both trust."""

    requester: Gateway
    reviewer: Gateway
    vkey: Path


@dataclass(slots=True)
class Outcome:
    """What became of one task.

    receipt_holds  None when there is no artifact and so no receipt
    entries        ledger entries about the task, counted at the end
    """

    name: str
    task_id: str = ""
    state: str = "submitted"
    confidence: float | None = None
    seconds: float = 0.0
    entries: int = 0
    code: str | None = None
    receipt_holds: bool | None = None
    check: CheckResult = field(default_factory=lambda: CheckResult(None))
    why: str = ""

    @property
    def solved(self) -> bool:
        """Whether code was delivered that passes the hidden check."""
        return self.code is not None and self.check.passed is True

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "task": self.name,
            "task_id": self.task_id,
            "state": self.state,
            "solved": self.solved,
            "why_not": None if self.solved else self.why,
            "confidence": self.confidence,
            "seconds": round(self.seconds, 1),
            "ledger_entries": self.entries,
            "receipt_verified": self.receipt_holds,
        }


def drive(people: People, story: Story, display: Display, respond: Callable[[str, Story], None]) -> None:
    """Follow a task to its end; `respond` is called once for each `guidance` and `approval` that it waits for."""
    answered: set[tuple[str, str]] = set()
    for _ in news(people.requester, story, display):
        waits = story.waiting_for
        if waits is not None:
            about = (waits, story.approval["digest"] if waits == "approval" and story.approval else "")
            if about not in answered:
                answered.add(about)
                respond(waits, story)
        if story.has_ended:
            return


def respond_as_reviewer(people: People, guidance: str) -> Callable[[str, Story], None]:
    """Return what answers for the second person: the guidance, and approval of the exact digest."""

    def respond(waits: str, story: Story) -> None:
        if waits == "guidance":
            people.reviewer.post(f"/api/tasks/{story.task_id}/guidance", {"guidance": guidance})
        elif story.approval is not None:
            approval = {"digest": story.approval["digest"], "comment": "approved by the demo"}
            people.reviewer.post(f"/api/tasks/{story.task_id}/approval", approval)

    return respond


def run_task(
    people: People,
    name: str,
    request: dict[str, Any],
    display: Display,
    respond: Callable[[str, Story], None],
) -> Outcome:
    """Take one task from submission to a verified receipt; what goes wrong is told in the outcome."""
    outcome = Outcome(name)
    began = time.monotonic()
    try:
        story = Story.of_view(people.requester.post("/api/tasks", request | {"mode": "collaborative"}))
        outcome.task_id = story.task_id
        drive(people, story, display, respond)
        outcome.seconds = time.monotonic() - began
        conclude(outcome, story)
        if outcome.code is not None:
            receipt(people, outcome)
    except CliError as error:
        outcome.seconds = outcome.seconds or time.monotonic() - began
        outcome.why = outcome.why or error.message
    return outcome


def conclude(outcome: Outcome, story: Story) -> None:
    """Take over how a story ended, and why it delivered nothing, if so."""
    outcome.state = story.state
    if story.decision is not None:
        outcome.confidence = story.decision["confidence"]
    if story.artifact is not None:
        outcome.code = story.artifact["code"]
        return
    reason = (story.ended or {}).get("reason") or story.state
    if story.decision is not None and story.decision["verdict"] == "abstained":
        said = "; ".join(story.decision["reasons"])
        outcome.why = f"the consensus abstained: {said or reason}"
    elif not story.candidates:
        outcome.why = f"no candidate: {'; '.join(story.notes) or reason}"
    else:
        outcome.why = str(reason)


def receipt(people: People, outcome: Outcome) -> tuple[bytes, Findings] | None:
    """Fetch the receipt of a delivered artifact and verify it without asking anybody; None when it does not hold."""
    assert outcome.code is not None
    content = people.reviewer.read(f"/api/tasks/{outcome.task_id}/receipt", RECEIPT_ATTEMPTS)
    try:
        findings = verify_receipt(content, outcome.code.encode(), people.vkey.read_text().strip())
    except (Refused, OSError) as error:
        outcome.receipt_holds = False
        outcome.why = f"the receipt does not hold: {error}"
        return None
    outcome.receipt_holds = True
    return content, findings
