"""What the audit-log committed: `grace.ledger.v1`."""

from datetime import datetime
from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Sha256

_ID = UUID("019ac000-0000-7000-8000-000000000005")
_KEY = "grace.local/log+7f2d5fb1+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
_NEXT = "grace.local/log+6854398c+AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
Vkey = Annotated[str, Field(min_length=1, max_length=1000)]


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


class _LogEvent(Event):
    TOPIC: ClassVar = topics.LEDGER

    @property
    def partition_key(self) -> str:
        return "log"


class EntriesSealed(_LogEvent):
    """A run of entries stands in the tree, covered by the signed checkpoint of `tree_size` (at most 100 entries)."""

    TYPE: ClassVar = "grace.entries-sealed.v1"

    entries: Annotated[tuple[SealedEntry, ...], Field(min_length=1, max_length=100)]
    tree_size: Annotated[int, Field(ge=1)]

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


class CheckpointPublished(_LogEvent):
    """A signed checkpoint and every tile below it are readable as static files."""

    TYPE: ClassVar = "grace.checkpoint-published.v1"

    tree_size: Annotated[int, Field(ge=0)]
    root_sha256: Sha256
    checkpoint: str  # the signed note

    @classmethod
    def example(cls) -> Self:
        return cls(tree_size=1, root_sha256="01" * 32, checkpoint="grace.local/log\n1\nAAAA\n")


class LogKeySuccessionProposed(_LogEvent):
    """The log's key is due, and the next one is made: it signs once the key directory lists it.

    Said again until then.

    log_key    vkey of the key that leads
    successor  vkey of the one that shall succeed it
    """

    TYPE: ClassVar = "grace.log-key-succession-proposed.v1"

    log_key: Vkey
    successor: Vkey

    @classmethod
    def example(cls) -> Self:
        return cls(log_key=_KEY, successor=_NEXT)


class LogKeyRetirementProposed(_LogEvent):
    """Two keys have signed the log for long enough: the older may end, which the key directory says.

    Said again until then.

    log_key  vkey of the key that leads
    older    vkey of the one that signs beside it
    """

    TYPE: ClassVar = "grace.log-key-retirement-proposed.v1"

    log_key: Vkey
    older: Vkey

    @classmethod
    def example(cls) -> Self:
        return cls(log_key=_NEXT, older=_KEY)
