"""Erasing from the read model what an entry of the ledger redacts."""

from collections.abc import Sequence
from typing import Final

from grace_common.contract.events.task import RedactionRequested
from grace_common.runtime.database import current
from sqlalchemy import text

from grace_gateway.adapters.rows import to_json
from grace_gateway.domain.redaction import REDACTED, blanked

_TABLES: Final = ("fact", "submission")  # a submission's id is that of the fact that made it
_DATA: Final = {table: text(f"SELECT id, data FROM {table} WHERE id = ANY(:ids) FOR UPDATE") for table in _TABLES}
_KEEP: Final = {
    "fact": text("UPDATE fact SET data = CAST(:data AS json) WHERE id = :id"),
    "submission": text(f"UPDATE submission SET data = CAST(:data AS json), title = '{REDACTED}' WHERE id = :id"),
}
_FORGET: Final = (
    text("DELETE FROM approval_record WHERE event_id = ANY(:ids)"),
    text(
        "DELETE FROM memory USING fact WHERE fact.id = ANY(:ids) AND fact.type = 'grace.outcome-learned.v1' "
        "AND memory.task_id = fact.submission_id"
    ),
)
# The entry is found by its place, its primary key: an index by its id would cost every entry that is written.
_FORGET_OPERATIONS: Final = text(
    "UPDATE operation SET data = NULL "
    "FROM unnest(CAST(:indices AS bigint[]), CAST(:ids AS uuid[])) AS asked (index, entry_id) "
    "JOIN ledger_entry USING (index, entry_id) "
    "WHERE ledger_entry.entry_type LIKE 'grace.operation-%' AND operation.id = ledger_entry.operation_id"
)


async def erase(requests: Sequence[RedactionRequested]) -> None:
    """Take the content of what is to be redacted out of every table, on the open transaction; its subject stays.

    Where an entry of another id stands at the place named, an operation keeps its data, as the ledger keeps its own.
    """
    connection = current()
    asked = sorted({(one.entry_id, one.index) for one in requests})
    ids = [entry_id for entry_id, _ in asked]
    for table in _TABLES:
        rows = (await connection.execute(_DATA[table], {"ids": ids})).all()
        for row in rows:
            await connection.execute(_KEEP[table], {"id": row.id, "data": to_json(blanked(row.data))})
    for statement in _FORGET:
        await connection.execute(statement, {"ids": ids})
    await connection.execute(_FORGET_OPERATIONS, {"ids": ids, "indices": [index for _, index in asked]})
