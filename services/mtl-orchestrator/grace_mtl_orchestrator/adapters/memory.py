"""Memory in PostgreSQL: outcomes of ended tasks, found again by words (full text) and by likeness (trigrams)."""

from typing import Final

from grace_common.contract.events.round import OutcomeLearned
from grace_common.runtime.database import current
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from grace_mtl_orchestrator.adapters.tables import outcome

# More than are given, because tasks that repeat teach the same lesson.
_CONSIDERED: Final = 50

_LIKE_THIS = text(
    """
    WITH asked AS (
        SELECT CAST(replace(CAST(plainto_tsquery('english', :requirements) AS text), '&', '|') AS tsquery) AS words
    )
    SELECT lesson
    FROM outcome, asked
    WHERE outcome <> 'cancelled' AND (outcome.words @@ asked.words OR requirements % :requirements)
    ORDER BY
        ts_rank(outcome.words, asked.words) + similarity(requirements, :requirements) DESC, learned_at DESC, task_id
    LIMIT :considered
    """
)


class PostgresMemory:
    """Implements `ports.Memory`. Cancelled tasks are kept and teach nothing."""

    def __init__(self, lessons: int) -> None:
        self._lessons = lessons

    async def remember(self, learned: OutcomeLearned) -> None:
        row = learned.model_dump() | {
            "requirements": _storable(learned.requirements),
            "lesson": _storable(learned.lesson),
        }
        await current().execute(insert(outcome).values(row).on_conflict_do_nothing())

    async def lessons(self, requirements: str) -> tuple[str, ...]:
        found = await current().scalars(
            _LIKE_THIS, {"requirements": _storable(requirements), "considered": _CONSIDERED}
        )
        return tuple(dict.fromkeys(found))[: self._lessons]


def _storable(prose: str) -> str:
    """PostgreSQL's text holds any character but NUL."""
    return prose.replace("\x00", "")
