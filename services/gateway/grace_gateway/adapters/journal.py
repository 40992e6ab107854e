"""Requests made durable in groups: submissions and outbox rows in one statement, shared by all that wait.

One statement is one transaction and one round trip; a transaction around several costs three more, which a request
would wait for.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from grace_common.contract.envelope import Envelope
from grace_common.contract.events.task import ApprovalGiven
from grace_common.runtime.database import Database, after_commit
from grace_common.runtime.group_commit import GroupCommit
from grace_common.runtime.outbox import COLUMNS, STATED, UNNESTED, Outbox, fact_columns
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from grace_gateway.adapters.rows import INSERT_SUBMISSIONS, SUBMISSION_COLUMNS, submission_columns, submission_of
from grace_gateway.domain.submission import Submission
from grace_gateway.ports import Entry

# Facts go out in their order; one that belongs to a submission only if that is new. A receipt shows an approval's
# record byte for byte, long after the outbox has let it go.
_STATE: Final = text(
    f"""
    WITH new AS ({INSERT_SUBMISSIONS}),
    fact AS (
        SELECT * FROM unnest(CAST(:owners AS uuid[]), {UNNESTED}, CAST(:approvals AS boolean[]))
                      WITH ORDINALITY AS one (owner, {COLUMNS}, approval, place)
        WHERE owner IS NULL OR owner IN (SELECT id FROM new)
    ),
    {STATED},
    kept AS (
        INSERT INTO approval_record (event_id, value) SELECT event_id, value FROM fact WHERE approval
        ON CONFLICT DO NOTHING
    )
    SELECT id FROM new
    """
)
_EXISTING: Final = text(f"SELECT {SUBMISSION_COLUMNS} FROM submission WHERE id = ANY(:ids)")


class PostgresJournal:
    """Implements Journal."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._group: GroupCommit[Entry, Submission | None] = GroupCommit(database, self._commit_group, autocommit=True)

    async def commit(self, entry: Entry) -> Submission | None:
        return await self._group.submit(entry)

    async def commit_with(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        async with self._database.transaction() as connection:
            await work()
            await self._commit(connection, [entry])
            after_commit(self._outbox.wake.set)

    async def backlog(self) -> int:
        return await self._outbox.backlog()

    async def _commit_group(self, connection: AsyncConnection, entries: Sequence[Entry]) -> list[Submission | None]:
        results = await self._commit(connection, entries)
        self._outbox.wake.set()
        return results

    async def _commit(self, connection: AsyncConnection, entries: Sequence[Entry]) -> list[Submission | None]:
        first: dict[UUID, Entry] = {}
        stated: list[tuple[UUID | None, Envelope]] = []
        for entry in entries:
            owner = entry.submission.id if entry.submission is not None else None
            if owner is None or first.setdefault(owner, entry) is entry:
                stated += [(owner, envelope) for envelope in (*entry.effects, *entry.envelopes)]
        submissions = {id_: entry.submission for id_, entry in first.items() if entry.submission is not None}
        new = await self._state(connection, list(submissions.values()), stated)
        results: list[Submission | None] = [None] * len(entries)
        if len(new) < sum(entry.submission is not None for entry in entries):
            results = await self._repeated(connection, entries, first, new, submissions)
        return results

    async def _repeated(
        self,
        connection: AsyncConnection,
        entries: Sequence[Entry],
        first: Mapping[UUID, Entry],
        new: Collection[UUID],
        submissions: Mapping[UUID, Submission],
    ) -> list[Submission | None]:
        """Return what had the entries' ids before them; state the operations that asked for the same again."""
        rows = await connection.execute(_EXISTING, {"ids": [id_ for id_ in first if id_ not in new]})
        known = {**submissions, **{row.id: submission_of(row) for row in rows}}
        results: list[Submission | None] = []
        again: list[tuple[UUID | None, Envelope]] = []
        for entry in entries:
            submission = entry.submission
            if submission is None or (submission.id in new and first[submission.id] is entry):
                results.append(None)
                continue
            before = known[submission.id]
            results.append(before)
            if submission.repeats(before):
                again += [(None, envelope) for envelope in entry.envelopes]
        if again:
            await self._state(connection, [], again)
        return results

    async def _state(
        self,
        connection: AsyncConnection,
        submissions: Sequence[Submission],
        stated: Sequence[tuple[UUID | None, Envelope]],
    ) -> set[UUID]:
        """Insert submissions and state facts, each with the submission it belongs to; return the ids that are new."""
        rows = await connection.execute(_STATE, {**submission_columns(submissions), **_fact_columns(stated)})
        return {row.id for row in rows}


def _fact_columns(stated: Sequence[tuple[UUID | None, Envelope]]) -> dict[str, Any]:
    return {
        "owners": [owner for owner, _ in stated],
        **fact_columns([envelope for _, envelope in stated]),
        "approvals": [isinstance(envelope.event, ApprovalGiven) for _, envelope in stated],
    }
