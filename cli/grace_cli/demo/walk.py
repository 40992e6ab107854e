"""The first task of a demo, step by step, for somebody who watches."""

import re
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule

from grace_cli.demo.driving import Outcome, People, conclude, drive, receipt
from grace_cli.demo.task_files import DemoTask
from grace_cli.display import candidate_table, code_panel, display_for
from grace_cli.errors import CliError
from grace_cli.specification import ARROW
from grace_cli.story import Story

ENTRY: Final = re.compile(r"Entry \d+ states ")
FIBONACCI: Final[dict[str, Any]] = {
    "requirements": "Create a function to calculate fibonacci",
    "entry_point": "fibonacci",
    "signature": "def fibonacci(n: int) -> int:",
    "examples": [{"args": [n], "expected": value} for n, value in ((0, 0), (1, 1), (2, 1), (7, 13), (10, 55))],
    "mode": "collaborative",
}
GUIDANCE: Final = "Iterate rather than recurse; it must stay fast for n = 90."
CHECK: Final = (
    "def check(candidate):\n"
    "    assert [candidate(n) for n in range(12)] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]\n"
    "    assert candidate(90) == 2880067194370816120\n"
)
FIBONACCI_TASK: Final = DemoTask("fibonacci", "fibonacci", FIBONACCI, CHECK)


class Walk:
    """One request, from its words to a receipt that verifies offline."""

    def __init__(self, console: Console, people: People, folder: Path) -> None:
        self._console = console
        self._people = people
        self._folder = folder

    def run(self) -> Outcome:
        """Walk through the whole life of the task.

        raises  CliError when it delivers nothing, or its receipt does not hold
        """
        self._step("A request", "ada, a requester, asks for code")
        examples = [
            f"  fibonacci({', '.join(map(str, e['args']))}) {ARROW} {e['expected']}" for e in FIBONACCI["examples"]
        ]
        self._say("\n".join([FIBONACCI["requirements"], *examples]))
        view = self._people.requester.post("/api/tasks", FIBONACCI)
        story = Story.of_view(view)
        self._say(f"task {story.task_id}: on disk, and on its way")
        outcome = Outcome(FIBONACCI_TASK.id, story.task_id)
        began = time.monotonic()
        with display_for(as_json=False, console=self._console, transient=True) as display:
            drive(self._people, story, display, self._respond)
        outcome.seconds = time.monotonic() - began
        conclude(outcome, story)
        if story.artifact is None:
            raise CliError(f"the task {story.state}: {outcome.why}", f"the whole story: grace tasks {story.task_id}")
        self._delivered(story)
        self._verify(outcome)
        return outcome

    def _respond(self, waits: str, story: Story) -> None:
        if waits == "guidance":
            self._step("Guidance", "Grace has proposed an approach; ada answers before anything is generated")
            self._people.requester.post(f"/api/tasks/{story.task_id}/guidance", {"guidance": GUIDANCE})
            return
        assert story.approval is not None
        self._step("Four eyes", "grace, a reviewer, reads the evidence and approves one exact digest; ada could not")
        self._console.print(candidate_table(story))
        if story.winner is not None:
            self._console.print(code_panel(story.winner.code, "up for approval"))
        self._say(f"digest of code, report and decision: {story.approval['digest']}")
        approval = {"digest": story.approval["digest"], "comment": "read and approved"}
        self._people.reviewer.post(f"/api/tasks/{story.task_id}/approval", approval)

    def _delivered(self, story: Story) -> None:
        assert story.artifact is not None
        self._step("Delivered", "the code, with the names of who asked and who approved")
        self._console.print(code_panel(story.artifact["code"], f"{story.artifact['entry_point']}.py"))
        approved = ", ".join(story.artifact["approved_by"])
        self._say(
            f"asked for by {story.artifact['requester']}, approved by {approved}, by {story.artifact['generator']}"
        )

    def _verify(self, outcome: Outcome) -> None:
        self._step(
            "Proven", "the receipt is verified offline: with the file, the receipt and the log's public key alone"
        )
        verified = receipt(self._people, outcome)
        if verified is None or outcome.code is None:
            raise CliError(outcome.why, "the ledger and its publication disagree: grace ledger verify --local")
        content, findings = verified
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        code_file, receipt_file = self._folder / "fibonacci.py", self._folder / "fibonacci.receipt.json"
        code_file.write_bytes(outcome.code.encode())
        receipt_file.write_bytes(content)
        entries = [said for said in findings.sentences if ENTRY.match(said)]
        shown = [escape(said) for said in findings.sentences if said not in entries]
        shown.append(
            f"{len(entries)} more entries, from the CA's first statement to the completed task, stand in that tree, "
            "each signed by a key whose chain begins at the CA."
        )
        self._console.print(Panel("\n".join(shown), title="the receipt proves", highlight=False))
        self._say(
            f"The log's key is this machine's own ({self._people.vkey}); a stranger gets it from a place they trust.\n"
            f"Verify it yourself: grace receipt verify {receipt_file} {code_file}"
        )

    def _step(self, title: str, what: str) -> None:
        self._console.print()
        self._console.print(Rule(f"[bold]{title}[/bold] · {what}", align="left"))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
