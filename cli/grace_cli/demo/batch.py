"""Many tasks, a few at once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

from rich.console import Console

from grace_cli.client import Gateway
from grace_cli.demo.board import Board
from grace_cli.demo.driving import Outcome, People, respond_as_reviewer, run_task
from grace_cli.demo.hidden_check import run_check
from grace_cli.demo.task_files import DemoTask

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(console: Console, people: People, tasks: Sequence[DemoTask], at_once: int, guidance: str) -> list[Outcome]:
    """Take every task through its life; return the outcomes in the tasks' order."""
    respond = respond_as_reviewer(people, guidance)
    outcomes: dict[int, Outcome] = {}
    with Board(console, [task.id for task in tasks]) as board:

        def run(task: DemoTask) -> Outcome:
            return run_task(people, task.id, task.request, board.line(task.id), respond)

        for place, outcome in in_parallel(tasks, at_once, run):
            outcomes[place] = outcome
            board.finish(outcome)
    return [outcomes[place] for place in range(len(tasks))]


def in_parallel(items: Sequence[Item], at_once: int, work: Callable[[Item], Result]) -> Iterator[tuple[int, Result]]:
    """Yield each item's place and result as they come; what `work` raises is raised here.

    The threads do not outlive an interrupted program, as those of an executor would.
    """
    results: SimpleQueue[tuple[int, Result | BaseException]] = SimpleQueue()
    waiting: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
    for numbered in enumerate(items):
        waiting.put(numbered)

    def serve() -> None:
        while (next_ := waiting.get()) is not None:
            place, item = next_
            try:
                results.put((place, work(item)))
            except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
                results.put((place, error))

    for _ in range(at_once):
        waiting.put(None)
        threading.Thread(target=serve, daemon=True).start()
    for _ in items:
        place, result = results.get()
        if isinstance(result, BaseException):
            raise result
        yield place, result


def check_all(outcomes: Sequence[Outcome], tasks: Sequence[DemoTask]) -> None:
    """Run each task's hidden check on what was delivered, now that nobody can learn from it any more."""
    for outcome, task in zip(outcomes, tasks, strict=True):
        if outcome.code is not None:
            outcome.check = run_check(outcome.code, task.check, task.entry_point)


def count_entries(auditor: Gateway, outcomes: Sequence[Outcome]) -> None:
    """Count the ledger entries about each task."""
    for outcome in outcomes:
        if outcome.task_id:
            outcome.entries = sum(1 for _ in auditor.items("/api/ledger", task=outcome.task_id))
