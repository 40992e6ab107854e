"""Delivery: the one place that decides what becomes of a record.

Per partition, in order: check the seal, open the envelope, drop what the inbox knows, call the handler, commit its
answers with the inbox row, then commit the offset. `Refused` goes to the dead-letter topic; `Unready` is tried again
with growing, jittered pauses and a bound, then dead-lettered; an outage of database or broker is waited out without
bound; anything else is a bug and stops the consumer loudly, with the offset kept.

Consecutive records whose handlers stay inside the database share one transaction (group commit); when it fails, each is
tried alone, so that one bad record costs its neighbours nothing but time. Read models take a topic's partitions
together: fewer and larger transactions, and each partition in its order still.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import uuid5

import structlog
from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from faststream.kafka import KafkaBroker
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from grace_common.contract import envelope as envelopes
from grace_common.contract.envelope import Attributes, Envelope, parse
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import event_types
from grace_common.contract.events.task import ReplayRequested
from grace_common.runtime import failpoint, telemetry
from grace_common.runtime.clock import Clock
from grace_common.runtime.database import Database, current
from grace_common.runtime.operation import Operation, running
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.router import EventRouter, Route, Work, inbox_key
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.runtime.settings import Settings
from grace_common.runtime.stream import (
    Commits,
    Gate,
    Record,
    StreamConsumer,
    fail,
    last_positions,
    patiently,
    read_one,
    refusal_code,
    subscribe,
)
from grace_common.runtime.tables import inbox

MOST_IN_A_TRANSACTION: Final = 128
MOST_IN_A_BATCH: Final = 1024  # of read models, which write them in a statement or two
_PAUSE_ABOVE, _RESUME_BELOW = 2000, 1200
Lane = tuple[str, int | None]  # what is worked off one after the other: a partition of a topic; None: all of it
_log = structlog.get_logger(__name__)


class Arrived(NamedTuple):  # made for every record that anybody wants
    """A record whose seal holds, with the route that wants it; `content` is what the route's handlers get."""

    record: Record
    content: Envelope | Attributes
    route: Route
    signer: Signer

    @property
    def envelope(self) -> Envelope:
        assert isinstance(self.content, Envelope)  # only raw routes do without, and those are batches
        return self.content


class Delivery(ConsumerRebalanceListener):
    """Carries out one EventRouter's routes for one consumer group."""

    def __init__(
        self,
        settings: Settings,
        router: EventRouter[Any],
        ports: Any,
        *,
        database: Database,
        outbox: Outbox,
        gate: Gate,
        clock: Clock,
        stopped_by: "asyncio.Future[None]",
    ) -> None:
        self._settings = settings
        self._router = router
        self._routes = router.by_type
        self._reads_only = all(route.batch for route in router.routes.values())
        self._most = MOST_IN_A_BATCH if self._reads_only else MOST_IN_A_TRANSACTION
        self._ports = ports
        self._database = database
        self._outbox = outbox
        self._gate = gate
        self._clock = clock
        self._stopped_by = stopped_by
        self._subscriber: Any = None
        self._commits = Commits("delivery", lambda: self._subscriber.consumer, stopped_by)
        self._queues: dict[Lane, asyncio.Queue[Record]] = {}
        self._workers: dict[Lane, asyncio.Task[None]] = {}
        self._draining = False
        self.streams: Sequence[StreamConsumer] = ()  # of the same service: where dead letters of their topics replay
        self.missing: str | None = None

    def attach(self, kafka: KafkaBroker) -> None:
        self._subscriber = subscribe(
            kafka, self._settings, self._router.group_id, self._router.topics, self._receive, self, most=1000
        )

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Workers start with the first record."""

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Hand back what was not finished: its offset is not committed, so the next owner gets it.

        A rebalance revokes every partition (aiokafka's is the eager protocol), so no lane loses a part of itself.
        """
        await self._cancel({self._lane(at.topic, at.partition) for at in revoked})
        await self._commits.flush()

    async def stop(self, grace_s: float) -> None:
        """Finish what is in hand, at most `grace_s` seconds; hand back the rest."""
        self._draining = True
        for queue in self._queues.values():
            while not queue.empty():
                queue.get_nowait()
                queue.task_done()
        # A worker that a bug has stopped will finish nothing more.
        at_work = [at for at, worker in self._workers.items() if not worker.done()]
        waiting = [asyncio.create_task(self._queues[at].join()) for at in at_work]
        if waiting:
            _, unfinished = await asyncio.wait(waiting, timeout=grace_s)
            for task in unfinished:
                task.cancel()
        await self._cancel(set(self._workers))
        await self._commits.flush()

    async def _receive(self, records: Sequence[Record]) -> None:
        if self._draining:
            return
        by_lane: dict[Lane, list[Record]] = defaultdict(list)
        for record in records:
            by_lane[self._lane(record.topic, record.partition)].append(record)
        for lane, arrived in by_lane.items():
            queue = self._queues.setdefault(lane, asyncio.Queue())
            for record in arrived:
                queue.put_nowait(record)
            worker = self._workers.get(lane)
            if worker is None or worker.done():
                self._workers[lane] = asyncio.create_task(self._work(lane, queue))
            if queue.qsize() > _PAUSE_ABOVE:
                consumer = self._subscriber.consumer
                consumer.pause(*self._partitions(lane, consumer.assignment()))

    def _lane(self, topic: str, partition: int) -> Lane:
        return (topic, None if self._reads_only else partition)

    def _partitions(self, lane: Lane, among: Iterable[TopicPartition]) -> list[TopicPartition]:
        return [at for at in among if self._lane(at.topic, at.partition) == lane]

    async def _work(self, lane: Lane, queue: "asyncio.Queue[Record]") -> None:
        try:
            while True:
                chunk = [await queue.get()]
                while len(chunk) < self._most and not queue.empty():
                    chunk.append(queue.get_nowait())
                with telemetry.BATCH_SECONDS.labels(self._router.group_id).time():
                    failpoint.reached("delivery", "received")
                    await self._deliver(chunk)
                failpoint.reached("delivery", "handled")
                self._commits.note(last_positions(chunk))
                for _ in chunk:
                    queue.task_done()
                consumer = self._subscriber.consumer
                if queue.qsize() < _RESUME_BELOW and (paused := self._partitions(lane, consumer.paused())):
                    consumer.resume(*paused)
        except Exception as error:  # noqa: BLE001  (a bug of any kind must stop the service, not this task alone)
            fail(self._stopped_by, error)

    async def _cancel(self, lanes: Collection[Lane]) -> None:
        workers = [worker for lane in lanes if (worker := self._workers.pop(lane, None)) is not None]
        for lane in lanes:
            self._queues.pop(lane, None)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _deliver(self, chunk: Sequence[Record]) -> None:
        checked = await patiently(partial(self._gate.check, chunk), self)
        pairs = zip(chunk, checked, strict=True)
        arrived = [opened for record, one in pairs if (opened := await self._open(record, one)) is not None]
        for (outside, batch), run in groupby(arrived, key=lambda one: (one.route.outside, one.route.batch)):
            if outside:
                for one in run:
                    await self._with_retries(one)
            elif batch:
                for _, same in groupby(run, key=lambda one: one.route.handler):
                    await self._batch(list(same))
            else:
                await self._group(list(run))

    async def _open(self, record: Record, checked: SealedRecord | Refused) -> Arrived | None:
        """Return the record as an event somebody here wants; None when nobody does, or when it was refused."""
        try:
            if isinstance(checked, Refused):
                raise checked
            # A record that no route wants is only parsed: malformed bytes leave their trace, whoever wants them.
            attributes = parse(checked.value)
            type_ = attributes["type"]
            route = self._routes.get(type_)
            if route is None and type_ in event_types() and type_ != ReplayRequested.TYPE:
                return None
            known = event_types().get(type_)
            if known is not None and known.TOPIC.name != record.topic:
                raise Refused(f"{type_} belongs on {known.TOPIC}, not on {record.topic}")
            if route is not None and route.raw:
                return Arrived(record, attributes, route, checked.signer)
            opened = envelopes.open(checked.value)
            if isinstance(opened.event, ReplayRequested):
                await self._replay(opened.event)
            return Arrived(record, opened, route, checked.signer) if route is not None else None
        except Refused as error:
            code, reason = refusal_code(error), str(error)
            await patiently(lambda: self._gate.dead_letter(record, code, reason), self)
            return None

    async def _replay(self, asked: ReplayRequested) -> None:
        """Handle a dead-lettered record again, if this consumer refused it and the broker still has it."""
        own = asked.topic in {one.name for one in self._router.topics}
        stream = next((one for one in self.streams if asked.topic in {topic.name for topic in one.topics}), None)
        if asked.consumer != self._router.service or not (own or stream):
            return
        record = await patiently(
            partial(read_one, self._settings, TopicPartition(asked.topic, asked.partition), asked.offset), self
        )
        _log.info("replay", topic=asked.topic, offset=asked.offset, by=asked.by, found=record is not None)
        if record is None:
            raise Refused(
                f"{asked.topic}/{asked.partition}/{asked.offset} is gone from the broker: its retention is over"
            )
        if own:
            await self._deliver([record])
        elif stream is not None:
            await stream.again(record)

    async def _batch(self, arrived: Sequence[Arrived]) -> None:
        handler = arrived[0].route.handler

        async def work() -> None:
            async with self._database.transaction():
                await handler([one.content for one in arrived], self._ports)

        if len(arrived) > 1:
            try:
                await patiently(work, self)
                telemetry.HANDLED.labels(arrived[0].record.topic, "handled").inc(len(arrived))
            except (Refused, Unready):
                for one in arrived:
                    await self._batch([one])
            return

        async def refuse(error: Exception, code: str, attempts: int) -> None:
            await patiently(lambda: self._gate.dead_letter(arrived[0].record, code, str(error), attempts), self)

        await self._retried(arrived[0].route.event.TYPE, work, refuse)

    async def _group(self, arrived: Sequence[Arrived]) -> None:
        if len(arrived) > 1:
            try:
                await patiently(lambda: self._in_one_transaction(arrived), self)
                return
            except (Refused, Unready):
                pass  # somebody in the group: find out who, one by one
        for one in arrived:
            await self._with_retries(one)

    async def _in_one_transaction(self, arrived: Sequence[Arrived]) -> None:
        async with self._database.transaction():
            for one in arrived:
                await self._handle_inside(one)

    async def _with_retries(self, one: Arrived) -> None:
        """Handle one record; Refused and exhausted retries end in the dead-letter topic."""
        operation = self._operation(one)

        async def refuse(error: Exception, code: str, attempts: int) -> None:
            await self._fail(one, operation, error, code, attempts)

        await self._retried(one.envelope.type, partial(self._handle, one, operation), refuse)

    async def _retried(
        self,
        type_: str,
        work: Callable[[], Awaitable[None]],
        refuse: Callable[[Exception, str, int], Awaitable[None]],
    ) -> None:
        """Do `work` until it is done, is refused, or has been unready for the last time that the settings allow."""
        for attempt in range(1, self._settings.delivery_attempts + 1):
            try:
                await patiently(work, self)
                return
            except Refused as error:
                await refuse(error, refusal_code(error), attempt)
                return
            except Unready as error:
                if attempt == self._settings.delivery_attempts:
                    await refuse(error, "retries-exhausted", attempt)
                    return
                pause_s = min(0.1 * 2**attempt, 10.0) * random.uniform(0.5, 1.0)
                _log.info("retry", type=type_, attempt=attempt, why=str(error), retry_in_s=round(pause_s, 2))
                await asyncio.sleep(pause_s)

    async def _fail(self, one: Arrived, operation: Operation, error: Exception, code: str, attempts: int) -> None:
        failure = operation.failure(self._clock.now(), error)  # made once: a commit in doubt must not double it

        async def work() -> None:
            async with self._database.transaction():
                await self._outbox.add(failure)
                await self._gate.dead_letter(one.record, code, str(error), attempts)

        await patiently(work, self)

    async def _handle(self, one: Arrived, operation: Operation) -> None:
        operation.restart()
        if one.route.outside:
            await self._handle_outside(one, operation)
            return
        async with self._database.transaction():
            await self._handle_inside(one, operation)

    async def _handle_inside(self, one: Arrived, operation: Operation | None = None) -> None:
        if not await self._enter(one):
            return
        operation = operation or self._operation(one)
        with running(operation), telemetry.continued(one.envelope.traceparent):
            answers = await one.route.call(one.envelope.event, self._ports, Work(one.envelope, operation, one.signer))
            now = self._clock.now()
            stated = [operation.envelope(answer, now) for answer in answers]
            await self._outbox.add(stated)
        await self._outbox.add(operation.success(now))
        telemetry.HANDLED.labels(one.record.topic, "handled").inc()

    async def _handle_outside(self, one: Arrived, operation: Operation) -> None:
        consumer, event_id = inbox_key(one.route, one.envelope, self._router.service)
        async with self._database.reading() as connection:
            known = await connection.scalar(
                select(inbox.c.event_id).where(inbox.c.consumer == consumer, inbox.c.event_id == event_id)
            )
        if known is not None:
            return
        await self._outbox.state([operation.start()])
        with running(operation), telemetry.continued(one.envelope.traceparent):
            answers = await one.route.call(one.envelope.event, self._ports, Work(one.envelope, operation, one.signer))
        now = self._clock.now()
        stated = [operation.envelope(answer, now) for answer in answers]
        outcome = operation.success(now)

        async def finish() -> None:
            async with self._database.transaction():
                if await self._enter(one):
                    await self._outbox.add([*stated, *outcome])

        # The work is done and may have cost minutes: an outage now must not do it over.
        await patiently(finish, self)
        telemetry.HANDLED.labels(one.record.topic, "handled").inc()

    async def _enter(self, one: Arrived) -> bool:
        """Write the inbox row; False when it is there already and the event has had its effect."""
        consumer, event_id = inbox_key(one.route, one.envelope, self._router.service)
        written = await current().execute(
            insert(inbox)
            .values(consumer=consumer, event_id=event_id)
            .on_conflict_do_nothing()
            .returning(inbox.c.event_id)
        )
        if written.first() is None:
            telemetry.HANDLED.labels(one.record.topic, "duplicate").inc()
            return False
        return True

    def _operation(self, one: Arrived) -> Operation:
        name = f"{self._router.service}.{one.route.name}"
        return Operation(
            id=uuid5(one.envelope.id, name),
            name=name,
            service=self._router.service,
            actor=one.envelope.actor,
            subject=one.envelope.event.partition_key,
            correlation=one.envelope.correlation,
            why=one.envelope.type,
            started_at=self._clock.now(),
            cause=one.envelope.id,
            outside=one.route.outside,
            read=[one.envelope.id],
        )
