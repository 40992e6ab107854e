"""Records that had no effect, kept whole so that they can be read and replayed: `grace.dead-letter.v1`."""

from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Event


class RecordDeadLettered(Event):
    """One refused record as it came. `value` is cut to 24 KiB, and `value_bytes` says how long it was.

    consumer  the service that refused it; a replay hands it to that service alone
    """

    TYPE: ClassVar = "grace.record-dead-lettered.v1"
    TOPIC: ClassVar = topics.DEAD_LETTER

    refusal_id: UUID
    consumer: str
    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    key: bytes | None = None
    value: bytes
    value_bytes: Annotated[int, Field(ge=0)]
    headers: dict[str, bytes] = Field(default_factory=dict)
    code: str
    reason: str
    attempts: Annotated[int, Field(ge=1)] = 1

    @property
    def partition_key(self) -> str:
        return f"{self.refusal_id}/{self.consumer}"

    @classmethod
    def example(cls) -> Self:
        return cls(
            refusal_id=UUID("019ac000-0000-7000-8000-000000000004"),
            consumer="consensus",
            topic="grace.task.v1",
            partition=0,
            offset=17,
            key=b"019ac000",
            value=b"not json",
            value_bytes=8,
            code="malformed",
            reason="the record is not JSON",
        )
