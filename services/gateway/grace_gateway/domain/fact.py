"""One event as the read model keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Fact:
    """An event about one submission.

    type     `grace.task-submitted.v1`
    service  who stated it
    actor    on whose behalf
    data     the event's fields as JSON values
    """

    id: UUID
    type: str
    time: datetime
    service: str
    actor: str
    operation: UUID
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`task-submitted` for `grace.task-submitted.v1`."""
        return self.type.split(".")[1]
