"""Reading Kafka: FastStream subscribers that hand over raw bytes, positions committed by hand, seals checked.

FastStream's default for Kafka acknowledges before the handler runs, its NACK seeks back at once and without end, and
its `ack()` commits the position of every assigned partition. So everything here subscribes with `AckPolicy.MANUAL` and
commits exact offsets itself, after the effects are durable.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, Final, Protocol, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka import TopicPartition as Partition
from faststream.kafka.message import FAKE_CONSUMER
from faststream.middlewares import AckPolicy
from faststream.security import BaseSecurity, SASLScram256

from grace_common.contract.envelope import MAX_RECORD_BYTES, Context, Envelope, UnsupportedVersion
from grace_common.contract.errors import GraceError, Refused
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.operation import RecordRefused
from grace_common.contract.topics import Topic, by_name
from grace_common.runtime import failpoint, telemetry
from grace_common.runtime.clock import Clock
from grace_common.runtime.follower import IdentityFollower
from grace_common.runtime.identity import RevokedKey, UnknownKey, WrongWriter
from grace_common.runtime.outage import describe_outage, describe_refusal, is_outage
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.producer import connection
from grace_common.runtime.seal import BadSeal, SealedRecord, Unsealed
from grace_common.runtime.settings import Settings

_log = structlog.get_logger(__name__)
R = TypeVar("R")
_COMMIT_AFTER_S: Final = 0.25
# FastStream sleeps as long as it has waited in vain, deaf to what comes: so it waits until something does. (An error of
# the connection or the group ends the wait, and whoever stops the subscriber cancels it.)
_ALWAYS_MS: Final = 10 * 365 * 24 * 3600 * 1000
# What a dead letter keeps of a refused record, in bytes. Together, in base64, they fit into an envelope: whatever a
# hostile record carries, its dead letter can be stated.
_LONGEST_KEPT: Final = 24 * 1024
_LONGEST_KEY: Final = 1024
_MOST_OF_HEADERS: Final = 3 * 1024
_LONGEST_REASON: Final = 3 * 1024


class Record(Protocol):
    """One record as aiokafka hands it over, nothing checked."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Oversized(Refused):
    """The record is larger than an envelope may be."""


class RecordHandler(Protocol):
    """What a stream hands its records to."""

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Return the offset to begin with; None: where the consumer group left off."""
        ...

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Return when the effects of all records are durable; their offsets are committed then.

        raises  Displaced when others have handled records meanwhile: `start_at` is asked again
        """
        ...


class Displaced(GraceError):
    """The handler of a guarded stream is not where it was: another instance has handled records."""


@dataclass(frozen=True)
class RecordStream:
    """A consumer group that reads verified records as they are, without opening them.

    most     records in one call of the handler, at the most
    wait_s   how long the broker may hold records back to hand over more at once; they come at once when 1 MiB is there
    guarded  the handler itself sees to it that one instance acts and where it begins, so every instance reads its one
             partition: the next one need not wait until the broker believes that the one before is gone
    """

    service: str
    group: str
    topics: Sequence[Topic]
    handler: RecordHandler
    most: int = 500
    wait_s: float = 0.0
    guarded: bool = False

    def __post_init__(self) -> None:
        if self.guarded and [topic.partitions for topic in self.topics] != [1]:
            raise TypeError(f"{self.group} is guarded, which is for one topic of one partition")

    @property
    def group_id(self) -> str:
        return f"{self.service}.{self.group}"


class FrameworkLog:
    """What FastStream says. After an error of the broker it tries again for ever, and says so to its logger alone.

    So what nobody expects ends the service here, rather than leave a consumer deaf in one that calls itself ready.
    """

    def __init__(self, stopped_by: "asyncio.Future[None]") -> None:
        self._stopped_by = stopped_by

    def log(self, level: int, msg: Any, /, *, exc_info: Any = None, extra: Mapping[str, Any] | None = None) -> None:
        """Take one line; all but errors are its chatter about each batch."""
        if level < logging.ERROR or not isinstance(exc_info, KafkaError):
            return
        missing = describe_outage(exc_info) if is_outage(exc_info) else describe_refusal(exc_info)
        if missing is None:
            fail(self._stopped_by, exc_info)
        else:
            _log.warning("consumer_waits", missing=missing)


def broker(settings: Settings, stopped_by: "asyncio.Future[None]") -> KafkaBroker:
    """Return the FastStream broker that consumes; producing is `producer.SealedProducer`'s.

    stopped_by  is told what a consumer cannot go on after
    """
    encrypted = settings.kafka_security_protocol.endswith("SSL")
    trust = ssl.create_default_context() if encrypted else None
    security: BaseSecurity = BaseSecurity(use_ssl=encrypted, ssl_context=trust)
    if settings.kafka_username is not None and settings.kafka_password is not None:
        security = SASLScram256(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            use_ssl=encrypted,
            ssl_context=trust,
        )
    return KafkaBroker(
        settings.kafka_bootstrap.split(","),
        client_id=settings.service,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        security=security,
        logger=FrameworkLog(stopped_by),
        graceful_timeout=30.0,
    )


def subscribe(
    kafka: KafkaBroker,
    settings: Settings,
    group_id: str,
    topics: Sequence[Topic],
    receive: Callable[[Sequence[Record]], Awaitable[None]],
    listener: ConsumerRebalanceListener,
    *,
    most: int,
    wait_s: float = 0.0,
    guarded: bool = False,
) -> Any:
    """Subscribe `receive` to raw records of `topics`; return FastStream's subscriber (its `.consumer` commits)."""
    reading: dict[str, Any] = {
        "group_instance_id": f"{group_id}.{settings.instance}",  # a restart rejoins at once, without a rebalance
        "listener": listener,
    }
    if guarded:
        reading = {"partitions": [Partition(topic.name, 0) for topic in topics]}

    async def parse(message: Any) -> KafkaMessage:
        # Acknowledging is ours, so the message gets no consumer. FastStream's own parser decodes every header as
        # UTF-8 and would fail on a hostile one before we see it.
        return KafkaMessage(body=b"", raw_message=message, headers={}, message_id="", consumer=FAKE_CONSUMER)

    async def decode(message: KafkaMessage) -> Any:
        return message.raw_message

    async def hand_over(records: Any) -> None:  # FastStream reads annotations, and must not try to validate records
        await receive(records)

    subscriber = kafka.subscriber(
        *(() if guarded else (topic.name for topic in topics)),
        batch=True,
        group_id=group_id,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        isolation_level="read_committed",
        batch_timeout_ms=_ALWAYS_MS,
        fetch_max_wait_ms=int(wait_s * 1000) or 500,
        fetch_min_bytes=1024 * 1024 if wait_s else 1,
        max_records=most,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        max_poll_interval_ms=24
        * 3600
        * 1000,  # an outage of the database is waited out here, without leaving the group
        session_timeout_ms=15_000,
        **reading,
        parser=parse,
        decoder=decode,
        no_reply=True,
    )
    subscriber(hand_over)
    return subscriber


async def read_one(settings: Settings, partition: TopicPartition, offset: int) -> Record | None:
    """Return the record at one offset; None when the broker no longer has it."""
    consumer = AIOKafkaConsumer(**connection(settings), enable_auto_commit=False, auto_offset_reset="none")
    try:
        await consumer.start()
        consumer.assign([partition])
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        if not first <= offset < end:
            return None
        consumer.seek(partition, offset)
        found: Record = await consumer.getone(partition)
        return found if found.offset == offset else None
    finally:
        await consumer.stop()


async def commit(consumer: AIOKafkaConsumer | None, positions: Mapping[TopicPartition, int]) -> None:
    """Commit exact positions. A failure is no loss: the records come again and are recognised."""
    if consumer is None or not positions:
        return
    try:
        await consumer.commit(dict(positions))
    except (CommitFailedError, IllegalStateError) as error:
        _log.info("commit_after_rebalance", why=str(error))
    except KafkaError as error:
        if not is_outage(error):
            raise
        _log.warning("commit_waits", missing=describe_outage(error))


class Commits:
    """Commits positions a moment later, those of many batches at once.

    Their effects are durable already, and what a crash lets come again is recognised: there is no hurry, and a commit
    for each batch costs the broker more than the batch itself.
    """

    def __init__(
        self, part: str, consumer: Callable[[], AIOKafkaConsumer | None], stopped_by: "asyncio.Future[None]"
    ) -> None:
        self._part = part  # as failpoints name it
        self._consumer = consumer
        self._stopped_by = stopped_by
        self._positions: dict[TopicPartition, int] = {}
        self._later: asyncio.Task[None] | None = None

    def note(self, positions: Mapping[TopicPartition, int]) -> None:
        """Take positions whose records are done."""
        self._positions |= positions
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._soon())

    async def flush(self) -> None:
        """Commit now what was noted: partitions are about to go to another, or this consumer ends."""
        positions, self._positions = self._positions, {}
        await commit(self._consumer(), positions)
        failpoint.reached(self._part, "positioned")

    async def _soon(self) -> None:
        try:
            while self._positions:  # what is noted during a commit waits for the next one, not for the next record
                await asyncio.sleep(_COMMIT_AFTER_S)
                await self.flush()
        except Exception as error:  # noqa: BLE001  (a bug of any kind must stop the service, not this task alone)
            fail(self._stopped_by, error)


def refusal_id(topic: str, partition: int, offset: int, at: datetime) -> UUID:
    """Return the id of a record's refusal: the same whoever refuses it, so the ledger holds it once.

    at  the broker's time of the record: a broker that lost its data gives the same place to another one
    """
    return uuid5(NAMESPACE_URL, f"kafka:{topic}/{partition}/{offset}@{at.isoformat()}")


def refusal_code(error: Refused) -> str:
    """Return the word for the reason in the dead letter and the refusal entry."""
    for kind, code in (
        (Oversized, "oversized"),
        (Unsealed, "unsealed"),
        (BadSeal, "bad-seal"),
        (RevokedKey, "revoked-key"),
        (WrongWriter, "wrong-writer"),
        (UnsupportedVersion, "unsupported-version"),
    ):
        if isinstance(error, kind):
            return code
    return "refused"


def moment(record: Record) -> datetime:
    """Return the broker's time of a record."""
    return datetime.fromtimestamp(record.timestamp / 1000, UTC)


class Gate:
    """Checks each record before anything looks into it, and leaves the traces of those that fail."""

    def __init__(self, service: str, identities: IdentityFollower, outbox: Outbox, clock: Clock) -> None:
        self._service = service
        self._identities = identities
        self._outbox = outbox
        self._clock = clock

    async def check(self, records: Sequence[Record]) -> list[SealedRecord | Refused]:
        """Return each record verified, or why it is refused: its seal or its size is not what it must be."""
        if self._identities.lags:
            await self._identities.catch_up()  # else a key revoked meanwhile would pass
        checked: list[SealedRecord | Refused] = []
        for record in records:
            try:
                checked.append(self._verified(record))
            except UnknownKey:
                await self._identities.catch_up()
                try:
                    checked.append(self._verified(record))
                except UnknownKey as error:
                    checked.append(BadSeal(f"{error}: the key was never certified"))
                except Refused as error:
                    checked.append(error)
            except Refused as error:
                checked.append(error)
        return checked

    def _verified(self, record: Record) -> SealedRecord:
        value, key = record.value or b"", record.key or b""
        if len(value) > MAX_RECORD_BYTES:
            raise Oversized(f"the record has {len(value)} bytes and the limit is {MAX_RECORD_BYTES}")
        headers = {name: content or b"" for name, content in record.headers}
        timestamp = moment(record)
        signer = self._identities.directory.verify(by_name(record.topic), key, value, headers, timestamp)
        return SealedRecord(record.topic, record.partition, record.offset, key, value, timestamp, signer)

    async def dead_letter(self, record: Record, code: str, reason: str, attempts: int = 1) -> None:
        """State that a record was refused (one entry in the ledger) and keep it whole for reading and replay."""
        value = record.value or b""
        id_ = refusal_id(record.topic, record.partition, record.offset, moment(record))
        reason = _cut(reason)
        now = self._clock.now()
        refused = RecordRefused(
            refusal_id=id_,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            value_sha256=sha256(value).hexdigest(),
            code=code,
            reason=reason,
            service=self._service,
        )
        kept = RecordDeadLettered(
            refusal_id=id_,
            consumer=self._service,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key[:_LONGEST_KEY] if record.key is not None else None,
            value=value[:_LONGEST_KEPT],
            value_bytes=len(value),
            headers=_kept_headers(record),
            code=code,
            reason=reason,
            attempts=attempts,
        )
        context = Context(source=f"/grace/{self._service}", operation=id_, actor=self._service, correlation=str(id_))
        _log.warning("record_refused", topic=record.topic, offset=record.offset, code=code, reason=reason)
        telemetry.HANDLED.labels(record.topic, "refused").inc()
        await self._outbox.state(
            [
                _stated(refused, id_, context, now),
                _stated(kept, uuid5(id_, self._service), context, now),
            ]
        )


def _cut(reason: str) -> str:
    """Return as much of the reason as has at most `_LONGEST_REASON` bytes in JSON."""
    while len(orjson.dumps(reason)) > _LONGEST_REASON:
        reason = reason[: len(reason) * 3 // 4]
    return reason


def _kept_headers(record: Record) -> dict[str, bytes]:
    """Return the first headers that together have at most `_MOST_OF_HEADERS` bytes in JSON; a null value is empty."""
    kept: dict[str, bytes] = {}
    room = _MOST_OF_HEADERS
    for name, content in record.headers:
        room -= len(orjson.dumps(name)) + len(content or b"") * 4 // 3 + 8
        if room < 0:
            break
        kept[name] = content or b""
    return kept


def _stated(event: RecordRefused | RecordDeadLettered, id_: UUID, context: Context, now: datetime) -> Envelope:
    return Envelope(
        id=id_,
        source=context.source,
        time=now,
        correlation=context.correlation,
        causation=None,
        operation=context.operation,
        actor=context.actor,
        traceparent=None,
        event=event,
    )


class StreamConsumer(ConsumerRebalanceListener):
    """Carries out one RecordStream: verify, hand over, commit; an outage is waited out, a bug stops the service."""

    def __init__(
        self, settings: Settings, stream: RecordStream, gate: Gate, stopped_by: "asyncio.Future[None]"
    ) -> None:
        self._stream = stream
        self._gate = gate
        self._settings = settings
        self._stopped_by = stopped_by
        self._begun = not stream.guarded
        self._beginning: asyncio.Task[None] | None = None
        self._subscriber: Any = None
        self._commits = Commits(stream.group, lambda: self._subscriber.consumer, stopped_by)
        self.missing: str | None = None

    def attach(self, kafka: KafkaBroker) -> None:
        self._subscriber = subscribe(
            kafka,
            self._settings,
            self._stream.group_id,
            self._stream.topics,
            self._receive,
            self,
            most=self._stream.most,
            wait_s=self._stream.wait_s,
            guarded=self._stream.guarded,
        )

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        for partition in assigned:
            position = await self._position(partition)
            if position is not None:
                self._subscriber.consumer.seek(partition, position)

    async def _position(self, partition: TopicPartition) -> int | None:
        """Return where to begin; None: where the group left off, or at the beginning."""
        position = await patiently(partial(self._stream.handler.start_at, partition.topic, partition.partition), self)
        if position is None:
            return None
        # The handler remembers a place in this log only if the group has come so far in it. A broker that lost its
        # data begins another log: then all of it is read, and what is known already is recognised.
        committed = await patiently(partial(self._subscriber.consumer.committed, partition), self)
        return None if committed is None else min(position, committed)

    async def _begin(self, first: Record) -> None:
        """Go to where a guarded stream begins; `first` is the first record that was not handled."""
        partition = TopicPartition(first.topic, first.partition)
        position = await self._position(partition)
        self._subscriber.consumer.seek(partition, first.offset if position is None else position)
        self._begun = True

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Nothing is held between batches but their positions."""
        await self._commits.flush()

    async def stop(self) -> None:
        """Commit what is done, while there is a connection; whoever stands by does so no longer."""
        if self._beginning is not None:
            self._beginning.cancel()
        await self._commits.flush()

    async def _receive(self, records: Sequence[Record]) -> None:
        failpoint.reached(self._stream.group, "received")
        try:
            if not self._begun:
                self._beginning = asyncio.create_task(self._begin(records[0]))
                await asyncio.wait([self._beginning])
                if not self._beginning.cancelled():
                    self._beginning.result()
                return
            with telemetry.BATCH_SECONDS.labels(self._stream.group_id).time():
                verified = await self._verified(records)
                if verified:
                    await patiently(lambda: self._stream.handler.handle(verified), self)
            telemetry.HANDLED.labels(self._stream.group, "handled").inc(len(verified))
            failpoint.reached(self._stream.group, "handled")
            self._commits.note(last_positions(records))
        except Displaced:
            self._begun = False
            self._subscriber.consumer.seek(TopicPartition(records[0].topic, records[0].partition), records[0].offset)
        except Exception as error:
            fail(self._stopped_by, error)
            raise

    async def again(self, record: Record) -> None:
        """Handle one record once more: a dead letter that an operator replays."""
        verified = await self._verified([record])
        while verified:
            try:
                await patiently(lambda: self._stream.handler.handle(verified), self)
                return
            except Displaced:
                self._begun = False  # the stream itself has to begin anew as well
                await self._position(TopicPartition(record.topic, record.partition))

    @property
    def topics(self) -> Sequence[Topic]:
        return self._stream.topics

    async def _verified(self, records: Sequence[Record]) -> list[SealedRecord]:
        """Return the records whose seals hold; of the others stands a dead letter."""
        verified: list[SealedRecord] = []
        for record, checked in zip(records, await patiently(lambda: self._gate.check(records), self), strict=True):
            if isinstance(checked, Refused):
                await patiently(partial(self._gate.dead_letter, record, refusal_code(checked), str(checked)), self)
            else:
                verified.append(checked)
        return verified


class _Waiting(Protocol):
    missing: str | None  # what it waits for, and what to do about it


async def patiently(work: Callable[[], Awaitable[R]], owner: _Waiting) -> R:
    """Do `work`; while the database or the broker is out, wait with growing pauses and do it again."""
    pause_s = 0.2
    while True:
        try:
            result = await work()
        except Exception as error:
            if not is_outage(error):
                raise
            owner.missing = describe_outage(error)
            _log.warning("waiting", missing=owner.missing, retry_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
        else:
            owner.missing = None
            return result


def last_positions(records: Sequence[Record]) -> dict[TopicPartition, int]:
    """Return the position after the last record of each partition."""
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}


def fail(stopped_by: "asyncio.Future[None]", error: BaseException) -> None:
    """Tell the service that a bug stopped a consumer: it ends loudly, and nothing is acknowledged."""
    _log.error("consumer_stopped", exc_info=error)
    if not stopped_by.done():
        stopped_by.set_exception(error)
