"""How submissions and facts stand in their tables."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import pydantic_core
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from grace_gateway.domain.fact import Fact
from grace_gateway.domain.progress import SUBMITTED
from grace_gateway.domain.submission import Submission
from grace_gateway.ports import Positioned

SUBMISSION_COLUMNS: Final = "id, kind, requester, title, body_digest, submitted_at, type, actor, operation_id, data"
FACT_COLUMNS: Final = "position, id, submission_id, type, time, service, actor, operation_id, data"

INSERT_SUBMISSIONS: Final = """
    INSERT INTO submission (id, kind, requester, title, state, mode, body_digest, submitted_at, updated_at, type,
                            actor, operation_id, data)
    SELECT id, kind, requester, title, state, mode, body_digest, at, at, type, actor, operation_id, data
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:requesters AS text[]), CAST(:titles AS text[]),
                CAST(:states AS text[]), CAST(:modes AS text[]), CAST(:digests AS bytea[]),
                CAST(:times AS timestamptz[]),
                CAST(:types AS text[]), CAST(:actors AS text[]), CAST(:operations AS uuid[]), CAST(:data AS json[]))
         AS new (id, kind, requester, title, state, mode, body_digest, at, type, actor, operation_id, data)
    ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
    """
_INSERT: Final = text(INSERT_SUBMISSIONS)
_TITLE_CHARS: Final = 200


def plain(value: str) -> str:
    """Return text as a `text` column takes it: PostgreSQL has no NUL character."""
    return value.replace("\0", "\ufffd")


def to_json(value: Any) -> str:
    """Return JSON text that keeps integers of any size, which orjson does not."""
    return pydantic_core.to_json(value).decode()


async def insert_submissions(connection: AsyncConnection, submissions: Sequence[Submission]) -> set[UUID]:
    """Insert submissions ordered by id, so that two transactions cannot deadlock; return the ids of the new ones."""
    rows = await connection.execute(_INSERT, submission_columns(submissions))
    return {row.id for row in rows}


def submission_columns(submissions: Sequence[Submission]) -> dict[str, Any]:
    """Return what the parameters of `INSERT_SUBMISSIONS` are."""
    return {
        "ids": [one.id for one in submissions],
        "kinds": [one.kind for one in submissions],
        "requesters": [plain(one.requester) for one in submissions],
        "titles": [plain(one.title[:_TITLE_CHARS]) for one in submissions],
        "states": [SUBMITTED] * len(submissions),
        "modes": [one.fact.data.get("mode") for one in submissions],
        "digests": [one.body_digest for one in submissions],
        "times": [one.fact.time for one in submissions],
        "types": [one.fact.type for one in submissions],
        "actors": [plain(one.fact.actor) for one in submissions],
        "operations": [one.fact.operation for one in submissions],
        "data": [to_json(one.fact.data) for one in submissions],
    }


def submission_of(row: Row[Any]) -> Submission:
    fact = Fact(
        id=row.id,
        type=row.type,
        time=row.submitted_at,
        service="gateway",
        actor=row.actor,
        operation=row.operation_id,
        data=row.data,
    )
    return Submission(row.kind, row.requester, row.title, fact, row.body_digest)


def positioned(row: Row[Any]) -> Positioned:
    fact = Fact(
        id=row.id,
        type=row.type,
        time=row.time,
        service=row.service,
        actor=row.actor,
        operation=row.operation_id,
        data=row.data,
    )
    return Positioned(row.position, row.submission_id, fact)
