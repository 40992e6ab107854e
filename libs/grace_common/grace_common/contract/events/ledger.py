"""What the audit-log committed: `grace.ledger.v1`."""

from datetime import datetime
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Sha256

_ID = UUID("019ac000-0000-7000-8000-000000000005")


class SealedEntry(Contract):
    """Where one entry stands, and what it can be searched by."""

    index: Annotated[int, Field(ge=0)]
    entry_id: UUID
    entry_type: str
    operation_id: UUID
    correlation: str
    actor: str
    service: str
    time: datetime


class EntriesSealed(Event):
    """A run of entries stands in the tree, covered by the signed checkpoint of `tree_size` (at most 100 entries)."""

    TYPE: ClassVar = "grace.entries-sealed.v1"
    TOPIC: ClassVar = topics.LEDGER

    entries: Annotated[tuple[SealedEntry, ...], Field(min_length=1, max_length=100)]
    tree_size: Annotated[int, Field(ge=1)]

    @property
    def partition_key(self) -> str:
        return "log"

    @classmethod
    def example(cls) -> Self:
        entry = SealedEntry(
            index=0,
            entry_id=_ID,
            entry_type="grace.task-submitted.v1",
            operation_id=_ID,
            correlation="019ac000-0000-7000-8000-000000000001",
            actor="ada",
            service="gateway",
            time=datetime.fromisoformat("2026-11-22T00:00:00+00:00"),
        )
        return cls(entries=(entry,), tree_size=1)


class CheckpointPublished(Event):
    """A signed checkpoint and every tile below it are readable as static files."""

    TYPE: ClassVar = "grace.checkpoint-published.v1"
    TOPIC: ClassVar = topics.LEDGER

    tree_size: Annotated[int, Field(ge=0)]
    root_sha256: Sha256
    checkpoint: str  # the signed note

    @property
    def partition_key(self) -> str:
        return "log"

    @classmethod
    def example(cls) -> Self:
        return cls(tree_size=1, root_sha256="01" * 32, checkpoint="grace.local/log\n1\nAAAA\n")
