"""What the ledger can be searched by."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """Conditions that must all hold; None asks for nothing.

    operation_ids  any one of these; an empty tuple finds nothing
    correlation    the task, evaluation or decision that an entry is about
    entry_types    any one of these, where there are any
    since, until   bounds of the entry's time, the upper one exclusive
    newest_first   order by index, falling or rising
    after          index behind which the page begins, in that order
    """

    limit: int
    operation_id: UUID | None = None
    operation_ids: tuple[UUID, ...] | None = None
    correlation: str | None = None
    actor: str | None = None
    entry_type: str | None = None
    entry_types: tuple[str, ...] = ()
    service: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = True
    after: int | None = None
