"""The six-W record of every piece of work: stated by every service on `grace.operation.v1`."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Sha256

_OPERATION = UUID("019ac000-0000-7000-8000-000000000004")
_TIME = datetime.fromisoformat("2026-11-22T00:00:00+00:00")


class Statement(Contract):
    """One kind of SQL statement that the operation ran. The fingerprint is the text with literals taken out."""

    fingerprint: str
    table: str | None
    count: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=0)]
    duration_ms: Annotated[float, Field(ge=0)]


class _OperationEvent(Event):
    """who: actor and service; what: name; where: service and instance; when: time; why: cause; how: attributes."""

    TOPIC: ClassVar = topics.OPERATION

    operation_id: UUID
    name: str  # `codegen.attempt`
    service: str
    actor: str
    subject: str  # the task, evaluation, decision or resource that it was about
    parent_id: UUID | None = None

    @property
    def partition_key(self) -> str:
        return str(self.operation_id)


class OperationStarted(_OperationEvent):
    """Work that reaches outside the database began. Without an outcome after the deadline it is an alarm."""

    TYPE: ClassVar = "grace.operation-started.v1"

    why: str
    attributes: dict[str, str] = Field(default_factory=dict)
    deadline: datetime | None = None

    @classmethod
    def example(cls) -> Self:
        return cls(
            operation_id=_OPERATION,
            name="codegen.attempt",
            service="code-gen",
            actor="ada",
            subject="019ac000-0000-7000-8000-000000000001",
            why="grace.round-opened.v1",
            attributes={"generator": "synthesis"},
            deadline=_TIME,
        )


class OperationSucceeded(_OperationEvent):
    """The work is done.

    result_sha256  digest of what it returned, where it returned something
    statements     the SQL it ran; `read` and `wrote`: ids of the bus records it consumed and stated
    """

    TYPE: ClassVar = "grace.operation-succeeded.v1"

    duration_ms: Annotated[float, Field(ge=0)]
    result_sha256: Sha256 | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    read: tuple[UUID, ...] = ()
    wrote: tuple[UUID, ...] = ()

    @classmethod
    def example(cls) -> Self:
        return cls(
            operation_id=_OPERATION,
            name="codegen.attempt",
            service="code-gen",
            actor="ada",
            subject="019ac000-0000-7000-8000-000000000001",
            duration_ms=1200.5,
            statements=(
                Statement(fingerprint="INSERT INTO outbox …", table="outbox", count=1, rows=2, duration_ms=0.8),
            ),
        )


class OperationFailed(_OperationEvent):
    """The work failed; `error` names the kind, `message` says it without secrets."""

    TYPE: ClassVar = "grace.operation-failed.v1"

    duration_ms: Annotated[float, Field(ge=0)]
    error: str
    message: str
    attributes: dict[str, str] = Field(default_factory=dict)
    statements: tuple[Statement, ...] = ()
    read: tuple[UUID, ...] = ()

    @classmethod
    def example(cls) -> Self:
        return cls(
            operation_id=_OPERATION,
            name="codegen.attempt",
            service="code-gen",
            actor="ada",
            subject="019ac000-0000-7000-8000-000000000001",
            duration_ms=3.0,
            error="Unready",
            message="the model server does not answer",
        )


class RecordRefused(Event):
    """A record read from Kafka had no effect. Its id derives from topic, partition and offset: one entry, however many
    services refuse it."""

    TYPE: ClassVar = "grace.record-refused.v1"
    TOPIC: ClassVar = topics.OPERATION

    refusal_id: UUID
    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    value_sha256: Sha256
    code: Literal[
        "malformed",
        "unsealed",
        "bad-seal",
        "revoked-key",
        "wrong-writer",
        "oversized",
        "unsupported-version",
        "refused",
        "retries-exhausted",
    ]
    reason: str
    service: str

    @property
    def partition_key(self) -> str:
        return str(self.refusal_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            refusal_id=_OPERATION,
            topic="grace.task.v1",
            partition=0,
            offset=17,
            value_sha256="01" * 32,
            code="unsealed",
            reason="the record carries no seal",
            service="consensus",
        )


class RequestRefused(Event):
    """An HTTP or WebSocket request was refused: who tried what, and why it had no effect."""

    TYPE: ClassVar = "grace.request-refused.v1"
    TOPIC: ClassVar = topics.OPERATION

    refusal_id: UUID
    actor: str
    method: str
    path: str
    status: Annotated[int, Field(ge=400, le=599)]
    reason: str

    @property
    def partition_key(self) -> str:
        return str(self.refusal_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            refusal_id=_OPERATION,
            actor="ada",
            method="POST",
            path="/api/tasks",
            status=422,
            reason="requirements: missing",
        )
