"""The outside as the handlers wish to see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from grace_common.contract.events.base import Event
from grace_common.contract.events.round import OutcomeLearned, Policy

from grace_mtl_orchestrator.domain.task import Heard, Task


class Tasks(Protocol):
    """Where tasks are kept, with their histories."""

    async def load(self, task_id: UUID) -> Task | None:
        """Return the task and keep it from changing until the transaction ends; None when there is none."""
        ...

    async def save(self, task: Task, heard: Heard, facts: Sequence[Event]) -> None:
        """Keep the task with what it heard and stated; Unready when it changed meanwhile."""
        ...


class Memory(Protocol):
    """What was learned from ended tasks."""

    async def remember(self, outcome: OutcomeLearned) -> None:
        """Keep an outcome; a second one of the same task changes nothing."""
        ...

    async def lessons(self, requirements: str) -> tuple[str, ...]:
        """Return the lessons of tasks like this one, most relevant first, each said once."""
        ...


@dataclass(frozen=True)
class Ports:
    tasks: Tasks
    memory: Memory
    policies: tuple[Policy, ...]  # in force for tasks submitted from now on
