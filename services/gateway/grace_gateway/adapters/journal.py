"""Requests made durable in groups: submissions and outbox rows in one transaction, shared by all that wait."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.events.task import ApprovalGiven
from grace_common.runtime.database import Database
from grace_common.runtime.group_commit import GroupCommit
from grace_common.runtime.outbox import Outbox
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from grace_gateway.adapters.rows import SUBMISSION_COLUMNS, insert_submissions, submission_of
from grace_gateway.domain.submission import Submission
from grace_gateway.ports import Entry

_EXISTING: Final = text(f"SELECT {SUBMISSION_COLUMNS} FROM submission WHERE id = ANY(:ids)")
_BACKLOG: Final = text("SELECT count(*) FROM (SELECT FROM outbox WHERE sent_at IS NULL LIMIT :most) AS waiting")
_KEEP_APPROVAL: Final = text(
    "INSERT INTO approval_record (event_id, value) VALUES (:id, :value) ON CONFLICT DO NOTHING"
)
_MOST_COUNTED: Final = 1_000_000


class PostgresJournal:
    """Implements Journal."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._group: GroupCommit[Entry, Submission | None] = GroupCommit(database, self._commit)

    async def commit(self, entry: Entry) -> Submission | None:
        return await self._group.submit(entry)

    async def commit_with(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        async with self._database.transaction() as connection:
            await work()
            await self._commit(connection, [entry])

    async def backlog(self) -> int:
        async with self._database.reading() as connection:
            return int(await connection.scalar(_BACKLOG, {"most": _MOST_COUNTED}) or 0)

    async def _commit(self, connection: AsyncConnection, entries: Sequence[Entry]) -> list[Submission | None]:
        existing = await self._submit(connection, [entry.submission for entry in entries if entry.submission])
        results: list[Submission | None] = []
        first: dict[UUID, Submission] = {}
        envelopes: list[Envelope] = []
        for entry in entries:
            submission = entry.submission
            before = None
            if submission is not None:
                before = existing.get(submission.id) or first.get(submission.id)
                first.setdefault(submission.id, submission)
            if before is None:
                envelopes += entry.effects
            if before is None or (submission is not None and submission.repeats(before)):
                envelopes += entry.envelopes
            results.append(before)
        await self._outbox.add(envelopes)
        approvals = [envelope for envelope in envelopes if isinstance(envelope.event, ApprovalGiven)]
        if approvals:
            # A receipt shows an approval's record byte for byte, long after the outbox has let it go.
            rows = [{"id": one.id, "value": encode(one)} for one in approvals]
            await connection.execute(_KEEP_APPROVAL, rows)
        return results

    async def _submit(self, connection: AsyncConnection, submissions: Sequence[Submission]) -> dict[UUID, Submission]:
        """Insert submissions; return, by id, those that another transaction had inserted before."""
        if not submissions:
            return {}
        unique = {submission.id: submission for submission in reversed(submissions)}
        inserted = await insert_submissions(connection, list(unique.values()))
        known = [id_ for id_ in unique if id_ not in inserted]
        if not known:
            return {}
        rows = await connection.execute(_EXISTING, {"ids": known})
        return {row.id: submission_of(row) for row in rows}
