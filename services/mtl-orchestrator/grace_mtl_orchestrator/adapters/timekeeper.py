"""What the orchestrator does without being told by an event: state its policies at the start, end overdue tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

import structlog
from grace_common.contract.events.base import Event
from grace_common.contract.events.round import PoliciesPublished
from grace_common.runtime.clock import Clock
from grace_common.runtime.database import Database
from grace_common.runtime.operation import operation_context, state
from grace_common.runtime.outage import describe_outage, is_outage

from grace_mtl_orchestrator.adapters.policy_log import PolicyLog
from grace_mtl_orchestrator.adapters.task_store import TaskStore

Expire = Callable[[UUID, datetime], Awaitable[Sequence[Event]]]

_AT_ONCE: Final = 100
_SERVICE: Final = "mtl-orchestrator"
_log = structlog.get_logger(__name__)


class Timekeeper:
    """Runs beside the handlers; several instances may run at once."""

    def __init__(
        self,
        database: Database,
        tasks: TaskStore,
        policies: PolicyLog,
        clock: Clock,
        *,
        expire: Expire,
        published: PoliciesPublished,
        poll_s: float,
    ) -> None:
        self._database = database
        self._tasks = tasks
        self._policies = policies
        self._clock = clock
        self._expire = expire
        self._published = published
        self._poll_s = poll_s

    async def run(self) -> None:
        """State the policies, then handle due timers until cancelled; an outage of the database is waited out."""
        stated = False
        while True:
            try:
                if not stated:
                    await self.publish()
                    stated = True
                handled = await self.handle_due()
            except Exception as error:
                if not is_outage(error):
                    raise
                handled = 0
                _log.warning("timers_wait", missing=describe_outage(error), retry_in_s=self._poll_s)
            if handled < _AT_ONCE:
                await asyncio.sleep(self._poll_s)

    async def publish(self) -> None:
        """State the policies in force, unless they were stated already."""
        async with (
            operation_context(
                f"{_SERVICE}.publish_policies", subject="policies", correlation="policies", why="the service started"
            ),
            self._database.transaction(),
        ):
            if await self._policies.enter(self._published):
                await state([self._published])

    async def handle_due(self) -> int:
        """End the tasks whose deadline has come; return how many were due."""
        due = await self._tasks.due(self._clock.now(), _AT_ONCE)
        for task_id in due:
            await self._handle(task_id)
        return len(due)

    async def _handle(self, task_id: UUID) -> None:
        # The operation's id derives from the task, so that two instances that race state the same facts.
        async with (
            operation_context(
                f"{_SERVICE}.expire",
                subject=str(task_id),
                correlation=str(task_id),
                why="the task's deadline passed",
                id=uuid5(task_id, "deadline"),
            ),
            self._database.transaction(),
        ):
            now = self._clock.now()
            if await self._tasks.claim(task_id, now):
                await state(await self._expire(task_id, now))
