"""The read model as the API reads it: operations, ledger entries, certificates, dead letters, policies, memory."""

import base64
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text

from grace_gateway.adapters.paging import Reader
from grace_gateway.adapters.rows import plain
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.ports import Page

_OPERATION_COLUMNS: Final = (
    "id, name, service, actor, subject, parent_id, why, started_at, ended_at, deadline, outcome, data"
)
_OPERATION_TIME: Final = "coalesce(ended_at, started_at)"
_OPERATION: Final = text(f"SELECT {_OPERATION_COLUMNS} FROM operation WHERE id = :id")
_ENTRY_COLUMNS: Final = "index, entry_id, entry_type, operation_id, correlation, actor, service, time"
_CERTIFICATES: Final = "key_id, subject, certificate, not_before, not_after, roles, revoked_at, reason"
_DEAD_LETTER: Final = text("SELECT data, at FROM dead_letter WHERE refusal_id = :id ORDER BY consumer")
_APPROVAL_RECORDS: Final = text("SELECT event_id, value FROM approval_record WHERE event_id = ANY(:ids)")
_POLICIES: Final = text(
    "SELECT name, version, description, expressions, published_at FROM policy ORDER BY name, version DESC"
)
_MEMORY_COLUMNS: Final = "task_id, outcome, requirements, lesson, generator, confidence, rounds, learned_at"


class RecordReader(Reader):
    """Implements the rest of Views."""

    async def operation(self, id: UUID) -> dict[str, Any] | None:
        rows = await self._rows(_OPERATION, id=id)
        return _operation(dict(rows[0]._mapping)) if rows else None

    async def operations(
        self, *, subject: str | None, name: str | None, actor: str | None, after: Cursor | None, limit: int
    ) -> Page:
        wanted = {"subject": subject, "name": name, "actor": actor}
        page = await self._page(
            _OPERATION_COLUMNS,
            "operation",
            [f"{column} = :{column}" for column, value in wanted.items() if value is not None],
            {column: plain(value) for column, value in wanted.items() if value is not None},
            order=(_OPERATION_TIME, "id"),
            after=after,
            limit=limit,
        )
        return Page([_operation(item) for item in page.items], page.next_cursor)

    async def ledger(self, query: LedgerQuery) -> list[dict[str, Any]]:
        conditions: list[str] = []
        values: dict[str, Any] = {"limit": query.limit}
        for column in ("operation_id", "correlation", "actor", "entry_type", "service"):
            value = getattr(query, column)
            if value is not None:
                conditions.append(f"{column} = :{column}")
                values[column] = plain(value) if isinstance(value, str) else value
        for bound, comparison in (("since", "time >= :since"), ("until", "time < :until")):
            if getattr(query, bound) is not None:
                conditions.append(comparison)
                values[bound] = getattr(query, bound)
        if query.operation_ids is not None:
            conditions.append("operation_id = ANY(:operation_ids)")
            values["operation_ids"] = list(query.operation_ids)
        if query.entry_types:
            conditions.append("entry_type = ANY(:entry_types)")
            values["entry_types"] = list(query.entry_types)
        if query.after is not None:
            conditions.append("index < :after" if query.newest_first else "index > :after")
            values["after"] = query.after
        where = " AND ".join(conditions) or "true"
        order = "DESC" if query.newest_first else "ASC"
        statement = text(f"SELECT {_ENTRY_COLUMNS} FROM ledger_entry WHERE {where} ORDER BY index {order} LIMIT :limit")
        return [dict(row._mapping) for row in await self._rows(statement, **values)]

    async def certificates(self, subject: str | None) -> list[dict[str, Any]]:
        where = "WHERE subject = :subject" if subject is not None else ""
        values = {"subject": plain(subject)} if subject is not None else {}
        statement = text(f"SELECT {_CERTIFICATES} FROM certificate {where} ORDER BY subject, not_before DESC")
        return [_certificate(row) for row in await self._rows(statement, **values)]

    async def certificate(self, key_id: str) -> dict[str, Any] | None:
        statement = text(f"SELECT {_CERTIFICATES} FROM certificate WHERE key_id = :key_id")
        rows = await self._rows(statement, key_id=plain(key_id))
        return _certificate(rows[0]) if rows else None

    async def dead_letters(self, *, consumer: str | None, after: Cursor | None, limit: int) -> Page:
        return await self._page(
            "refusal_id, consumer, topic, code, reason, at",
            "dead_letter",
            ["consumer = :consumer"] if consumer is not None else [],
            {"consumer": plain(consumer)} if consumer is not None else {},
            order=("at", "refusal_id"),
            after=after,
            limit=limit,
        )

    async def dead_letter(self, refusal_id: UUID) -> list[dict[str, Any]]:
        rows = await self._rows(_DEAD_LETTER, id=refusal_id)
        return [{**row.data, "at": row.at.isoformat()} for row in rows]

    async def approval_records(self, event_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        rows = await self._rows(_APPROVAL_RECORDS, ids=list(event_ids))
        return {row.event_id: bytes(row.value) for row in rows}

    async def policies(self) -> list[dict[str, Any]]:
        rows = await self._rows(_POLICIES)
        return [{**row._mapping, "expressions": row.expressions} for row in rows]

    async def memory(self, *, search: str | None, outcome: str | None, after: Cursor | None, limit: int) -> Page:
        conditions: list[str] = []
        values: dict[str, Any] = {}
        if search is not None:
            conditions.append("words @@ websearch_to_tsquery('english', :search)")
            values["search"] = plain(search)
        if outcome is not None:
            conditions.append("outcome = :outcome")
            values["outcome"] = plain(outcome)
        return await self._page(
            _MEMORY_COLUMNS,
            "memory",
            conditions,
            values,
            order=("learned_at", "task_id"),
            after=after,
            limit=limit,
        )


def _operation(row: dict[str, Any]) -> dict[str, Any]:
    """Return an operation's columns, and beside them what its outcome told."""
    data = row.pop("data")
    return {**row, **({"outcome_details": data} if data is not None else {"outcome_details": None})}


def _certificate(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "certificate": base64.b64encode(row.certificate).decode(), "roles": list(row.roles)}
