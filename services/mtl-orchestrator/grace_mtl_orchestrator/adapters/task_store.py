"""Tasks in PostgreSQL: the present state with its version, the history it came from, and the timers that are set.

Facts of one task come over several topics at once, so a step locks the task's row; the version is checked besides.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

import orjson
from grace_common.contract.errors import Unready
from grace_common.contract.events.base import Event, event_types
from grace_common.runtime.database import Database, current
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from grace_mtl_orchestrator.adapters.tables import history, task, timer
from grace_mtl_orchestrator.domain.task import Cause, DeadlinePassed, Heard, Submission, Task

_OWN_CAUSES: Final[dict[str, type[Submission] | type[DeadlinePassed]]] = {
    "submission": Submission,
    "deadline-passed": DeadlinePassed,
}


class TaskStore:
    """Implements `ports.Tasks`, and gives histories and due timers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, task_id: UUID) -> Task | None:
        state = await current().scalar(select(task.c.state).where(task.c.task_id == task_id).with_for_update())
        return Task.model_validate_json(state) if state is not None else None

    async def save(self, task_: Task, heard: Heard, facts: Sequence[Event]) -> None:
        written = await self._write_state(task_)
        if not written:
            raise Unready(f"task {task_.task_id} changed while version {task_.version} of it was made")
        await current().execute(
            insert(history).values(
                task_id=task_.task_id,
                position=task_.version,
                at=heard.at,
                cause_type=_type_of(heard.cause),
                cause=heard.cause.model_dump_json(),
                facts=orjson.dumps([_as_fact(fact) for fact in facts]).decode(),
            )
        )
        await self._set_timer(task_)

    async def history(self, task_id: UUID) -> list[Heard]:
        """Return all that the task heard, oldest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(
                select(history).where(history.c.task_id == task_id).order_by(history.c.position)
            )
            return [Heard(_cause(row.cause_type, row.cause), row.at) for row in rows]

    async def due(self, now: datetime, limit: int) -> list[UUID]:
        """Return the tasks whose timers are due, longest overdue first."""
        async with self._database.reading() as connection:
            rows = await connection.scalars(
                select(timer.c.task_id).where(timer.c.due_at <= now).order_by(timer.c.due_at).limit(limit)
            )
            return list(rows)

    async def claim(self, task_id: UUID, now: datetime) -> bool:
        """Lock the task of a due timer for the open transaction; False when another holds it or the timer is gone."""
        claimed = await current().scalar(
            select(task.c.task_id)
            .join(timer, timer.c.task_id == task.c.task_id)
            .where(task.c.task_id == task_id, timer.c.due_at <= now)
            .with_for_update(of=task, skip_locked=True)
        )
        return claimed is not None

    async def _write_state(self, task_: Task) -> bool:
        row = {"version": task_.version, "phase": task_.phase, "state": task_.model_dump_json()}
        if task_.version == 1:
            new = insert(task).values(task_id=task_.task_id, **row).on_conflict_do_nothing()
            return (await current().execute(new.returning(task.c.task_id))).first() is not None
        changed = (
            update(task)
            .where(task.c.task_id == task_.task_id, task.c.version == task_.version - 1)
            .values(**row, updated_at=func.now())
        )
        return (await current().execute(changed.returning(task.c.task_id))).first() is not None

    async def _set_timer(self, task_: Task) -> None:
        if task_.deadline is None:
            await current().execute(delete(timer).where(timer.c.task_id == task_.task_id))
        elif task_.version == 1:
            await current().execute(insert(timer).values(task_id=task_.task_id, due_at=task_.deadline))


def _type_of(cause: Cause) -> str:
    for name, own in _OWN_CAUSES.items():
        if isinstance(cause, own):
            return name
    return cast(Event, cause).TYPE


def _cause(type_: str, data: str) -> Cause:
    if type_ in _OWN_CAUSES:
        return _OWN_CAUSES[type_].model_validate_json(data)
    # Only causes are ever written.
    return cast(Cause, event_types()[type_].model_validate_json(data).upcast())


def _as_fact(fact: Event) -> dict[str, object]:
    return {"type": fact.TYPE, "data": orjson.Fragment(fact.model_dump_json().encode())}
