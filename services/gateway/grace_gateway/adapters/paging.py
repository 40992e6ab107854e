"""Rows of the read model, one at a time or page by page."""

from collections.abc import Sequence
from typing import Any

from grace_common.runtime.database import Database
from sqlalchemy import Row, TextClause, text

from grace_gateway.domain.cursor import Cursor
from grace_gateway.ports import Page


class Reader:
    """Reads outside any transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _rows(self, statement: TextClause, **values: Any) -> Sequence[Row[Any]]:
        async with self._database.reading() as connection:
            return (await connection.execute(statement, values)).all()

    async def _page(
        self,
        columns: str,
        table: str,
        conditions: Sequence[str],
        values: dict[str, Any],
        *,
        order: tuple[str, str],
        after: Cursor | None,
        limit: int,
    ) -> Page:
        """Return one page, newest first. All names are the callers' own; only values come from outside."""
        time, id_ = order
        where = list(conditions)
        if after is not None:
            where.append(f"({time}, {id_}) < (:after_time, :after_id)")
            values |= {"after_time": after.time, "after_id": after.id}
        condition = " AND ".join(where) or "true"
        statement = text(
            f"SELECT {columns}, {time} AS cursor_time, {id_} AS cursor_id FROM {table} WHERE {condition} "
            f"ORDER BY {time} DESC, {id_} DESC LIMIT :limit"
        )
        rows = await self._rows(statement, **values, limit=limit + 1)
        items = [without_cursor(row) for row in rows[:limit]]
        more = Cursor(rows[limit - 1].cursor_time, rows[limit - 1].cursor_id).encode() if len(rows) > limit else None
        return Page(items, more)


def without_cursor(row: Row[Any]) -> dict[str, Any]:
    """Return a row's own columns."""
    return {name: value for name, value in row._mapping.items() if name not in ("cursor_time", "cursor_id")}
