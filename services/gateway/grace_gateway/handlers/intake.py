"""Outside Kafka producers: what they seal onto `grace.intake.v1` is checked as an HTTP call is, and stated as a fact.

The runtime has verified the seal before anything here looks at a record, so the producer's name and roles are certain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal
from uuid import UUID, uuid5

import structlog
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES, Envelope, encode, explain
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.operation import RecordRefused
from grace_common.runtime.operation import Operation
from grace_common.runtime.seal import SealedRecord
from grace_common.runtime.stream import refusal_id
from pydantic import ValidationError
from pydantic_core import from_json

from grace_gateway.domain.idempotency import body_digest
from grace_gateway.domain.json_limits import fault
from grace_gateway.domain.requests import INTAKE_TYPES, content_of
from grace_gateway.domain.roles import REQUESTER
from grace_gateway.domain.submission import Submission, submission_of
from grace_gateway.ports import Entry, Ports

_REQUIRED: Final = ("specversion", "id", "source", "type", "data")
_LONGEST_KEPT: Final = 24 * 1024
_log = structlog.get_logger(__name__)


class Malformed(Refused):
    """The record is no CloudEvent that Grace takes in."""


class Intake:
    """Handles the records of the intake topic; a `RecordHandler` of the runtime."""

    def __init__(self, ports: Ports, keeping_up: Callable[[], Awaitable[None]]) -> None:
        self._ports = ports
        self._keeping_up = keeping_up

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the consumer group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """State what each record asks for, or why it has no effect; wait while the pipeline cannot keep up."""
        await self._keeping_up()
        await asyncio.gather(*(self._take(record) for record in records))

    async def _take(self, record: SealedRecord) -> None:
        try:
            submission, entry = self._admit(record)
            before = await self._ports.journal.commit(entry)
            if before is not None and not submission.repeats(before):
                raise Refused(f"the id {submission.id} was used before, for something else")
        except Refused as error:
            await self._ports.journal.commit(Entry(self._refusal(record, error)))

    def _admit(self, record: SealedRecord) -> tuple[Submission, Entry]:
        producer = record.signer.subject.removeprefix("producer/")
        if REQUESTER not in record.signer.roles:
            raise Refused(f"the producer {producer} does not have the role {REQUESTER}")
        attributes = cloud_event(record.value)
        id_, type_ = _uuid(attributes["id"]), attributes["type"]
        if type_ not in INTAKE_TYPES:
            raise Refused(f"{str(type_)[:100]!r} cannot be asked for over Kafka; {', '.join(INTAKE_TYPES)} can")
        try:
            body = INTAKE_TYPES[type_].model_validate(content_of(attributes["data"], id_, producer))
        except ValidationError as error:
            raise Refused(f"{type_} data is invalid: {explain(error)}") from error
        now = self._ports.clock.now()
        operation = self._operation(id_, producer, now)
        envelope = _envelope(id_, body.event(id_, producer, "kafka"), operation, now)
        encode(envelope)
        submission = submission_of(envelope, body_digest(body.model_dump_json().encode()))
        assert submission is not None  # every intake type makes a submission
        operation.wrote.append(id_)
        return submission, Entry(operation.success(self._ports.clock.now()), [envelope], submission)

    def _operation(self, id_: UUID, producer: str, now: datetime) -> Operation:
        return Operation(
            id=uuid5(id_, "gateway.intake"),
            name="gateway.intake",
            service="gateway",
            actor=producer,
            subject=str(id_),
            correlation=str(id_),
            why="kafka",
            started_at=now,
            read=[id_],
        )

    def _refusal(self, record: SealedRecord, error: Refused) -> list[Envelope]:
        """Return the entry for the ledger, and the dead letter that keeps the record for reading."""
        id_ = refusal_id(record.topic, record.partition, record.offset, record.timestamp)
        code: Literal["malformed", "refused"] = "malformed" if isinstance(error, Malformed) else "refused"
        reason = str(error)[:2000]
        _log.warning("record_refused", topic=record.topic, offset=record.offset, code=code, reason=reason)
        refused = RecordRefused(
            refusal_id=id_,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            value_sha256=sha256(record.value).hexdigest(),
            code=code,
            reason=reason,
            service="gateway",
        )
        kept = RecordDeadLettered(
            refusal_id=id_,
            consumer="gateway",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key[:1024],
            value=record.value[:_LONGEST_KEPT],
            value_bytes=len(record.value),
            code=code,
            reason=reason,
        )
        now = self._ports.clock.now()
        operation = self._operation(id_, record.signer.subject, now)
        return [_envelope(id_, refused, operation, now), _envelope(uuid5(id_, "gateway"), kept, operation, now)]


def cloud_event(value: bytes) -> Mapping[str, Any]:
    """Return the attributes of a structured-mode CloudEvent; raises Malformed.

    Of an outside event Grace needs less than of its own: who asks is the seal's word, not the event's.
    """
    if len(value) > MAX_ENVELOPE_BYTES:
        raise Malformed(f"the record has {len(value)} bytes and an event at most {MAX_ENVELOPE_BYTES}")
    try:
        attributes = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"the record is not JSON: {error}") from error
    if not isinstance(attributes, dict):
        raise Malformed("the record is no JSON object; expected a CloudEvent in structured mode")
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        raise Malformed(f"the event lacks {', '.join(missing)}")
    if attributes["specversion"] != "1.0":
        raise Malformed(f"specversion is {str(attributes['specversion'])[:20]!r}, expected '1.0'")
    if not isinstance(attributes["data"], dict) or not isinstance(attributes["type"], str):
        raise Malformed("type must be text and data an object")
    if wrong := fault(value, attributes["data"]):
        raise Malformed(f"the data is refused: {wrong}")
    return attributes


def _uuid(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError as error:
        raise Malformed("id must be a UUID: it becomes the id of the task") from error


def _envelope(id_: UUID, event: Event, operation: Operation, now: datetime) -> Envelope:
    return Envelope(
        id=id_,
        source="/grace/gateway",
        time=now,
        correlation=operation.correlation,
        causation=None,
        operation=operation.id,
        actor=operation.actor,
        traceparent=None,
        event=event,
    )
