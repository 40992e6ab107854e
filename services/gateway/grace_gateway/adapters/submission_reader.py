"""The read model as the API reads it: submissions and the facts about them."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from grace_gateway.adapters.paging import Reader
from grace_gateway.adapters.rows import FACT_COLUMNS, SUBMISSION_COLUMNS, plain, positioned, submission_of
from grace_gateway.domain.fact import Fact
from grace_gateway.domain.submission import Submission
from grace_gateway.ports import Page, Positioned, SubmissionQuery

_SUBMISSION: Final = text(f"SELECT {SUBMISSION_COLUMNS} FROM submission WHERE id = :id")
_REQUESTER: Final = text("SELECT requester FROM submission WHERE id = :id")
_FACTS: Final = text(f"SELECT {FACT_COLUMNS} FROM fact WHERE submission_id = :id ORDER BY position")
_AFTER: Final = text(f"SELECT {FACT_COLUMNS} FROM fact WHERE position > :position ORDER BY position LIMIT :limit")
_POSITION: Final = text("SELECT position FROM fact WHERE id = :id")
_LAST: Final = text("SELECT coalesce(max(position), 0) FROM fact")


class SubmissionReader(Reader):
    """Implements the submissions' part of Views."""

    async def submission(self, id: UUID) -> Submission | None:
        rows = await self._rows(_SUBMISSION, id=id)
        return submission_of(rows[0]) if rows else None

    async def requester_of(self, submission_id: UUID) -> str | None:
        rows = await self._rows(_REQUESTER, id=submission_id)
        return str(rows[0].requester) if rows else None

    async def facts(self, submission_id: UUID) -> list[Fact]:
        submission = await self.submission(submission_id)
        if submission is None:
            return []
        return [submission.fact, *(positioned(row).fact for row in await self._rows(_FACTS, id=submission_id))]

    async def submissions(self, query: SubmissionQuery) -> Page:
        conditions = ["kind = :kind"]
        values: dict[str, Any] = {"kind": query.kind}
        for name in ("requester", "state", "waiting_for"):
            if (wanted := getattr(query, name)) is not None:
                conditions.append(f"{name} = :{name}")
                values[name] = plain(wanted)
        return await self._page(
            "id, kind, requester, title, state, waiting_for, submitted_at, updated_at",
            "submission",
            conditions,
            values,
            order=("submitted_at", "id"),
            after=query.after,
            limit=query.limit,
        )

    async def position_of(self, fact_id: UUID) -> int | None:
        rows = await self._rows(_POSITION, id=fact_id)
        return int(rows[0].position) if rows else None

    async def facts_after(self, position: int, limit: int) -> list[Positioned]:
        return [positioned(row) for row in await self._rows(_AFTER, position=position, limit=limit)]

    async def last_position(self) -> int:
        return int((await self._rows(_LAST))[0][0])

    async def ping(self) -> None:
        await self._rows(text("SELECT 1"))
