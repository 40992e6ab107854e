"""Delivery against real Kafka and real PostgreSQL: what becomes of each kind of record."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer
from grace_cli.testing.deployment import Deployment, outgoing, running, stated
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import MAX_RECORD_BYTES, Envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.decision import OptionsDecided
from grace_common.contract.events.operation import RecordRefused
from grace_common.contract.events.task import DecisionRequested, ReplayRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.producer import partition_of
from grace_common.runtime.router import EventRouter
from grace_common.runtime.seal import Outgoing
from grace_common.runtime.service import Service
from grace_common.testing.certificates import certificate_issued


@dataclass
class Ports:
    """Counts what reaches the handler; fails as told, by question."""

    seen: list[UUID] = field(default_factory=list)
    unready: dict[UUID, int] = field(default_factory=dict)
    refused: set[UUID] = field(default_factory=set)


def router() -> EventRouter[Ports]:
    made: EventRouter[Ports] = EventRouter("consensus")

    @made.on(DecisionRequested, emits=(OptionsDecided,))
    async def decide(event: DecisionRequested, ports: Ports) -> Sequence[Event]:
        ports.seen.append(event.decision_id)
        if event.decision_id in ports.refused:
            raise Refused("no such options")
        if ports.unready.get(event.decision_id, 0) > 0:
            ports.unready[event.decision_id] -= 1
            raise Unready("not yet")
        return [OptionsDecided.example().model_copy(update={"decision_id": event.decision_id})]

    return made


def service(deployment: Deployment, ports: Ports, **changes: object) -> Service:
    settings = deployment.settings("consensus", **changes)
    return Service(settings, deployment.database("consensus"), ports=ports, routers=[router()], clock=SystemClock())


def requested() -> DecisionRequested:
    return DecisionRequested.example().model_copy(update={"decision_id": SystemClock().new_id()})


async def next_of(consumer: AIOKafkaConsumer, type_: type[Event], about: str) -> Envelope:
    """Return the next envelope of one type that mentions `about`."""
    async with asyncio.timeout(60):
        async for record in consumer:
            opened = envelope.open(record.value)
            if isinstance(opened.event, type_) and about in record.value.decode():
                return opened
    raise AssertionError("the consumer ended")


async def test_a_fact_is_handled_once_and_its_answer_names_its_cause(deployment: Deployment) -> None:
    ports, fact = Ports(), stated(requested())
    async with (
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment, ports)),
    ):
        await deployment.send("gateway", fact, fact)
        await deployment.send("gateway", fact)
        answer = await next_of(decisions, OptionsDecided, fact.correlation)
        marker = stated(requested())
        await deployment.send("gateway", marker)
        await next_of(decisions, OptionsDecided, marker.correlation)

    assert answer.causation == fact.id
    assert ports.seen.count(fact.event.decision_id) == 1  # type: ignore[attr-defined]


async def refusal_of(consumer: AIOKafkaConsumer, record: Outgoing) -> RecordRefused:
    """Return the refusal entry of exactly this value."""
    event = (await next_of(consumer, RecordRefused, sha256(record.value).hexdigest())).event
    assert isinstance(event, RecordRefused)
    return event


async def test_an_unready_handler_is_tried_again_until_it_succeeds(deployment: Deployment) -> None:
    event = requested()
    ports = Ports(unready={event.decision_id: 2})
    async with (
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment, ports)),
    ):
        fact = stated(event)
        await deployment.send("gateway", fact)
        await next_of(decisions, OptionsDecided, fact.correlation)

    assert ports.seen.count(event.decision_id) == 3


async def test_a_refused_event_is_dead_lettered_with_its_reason_and_its_neighbours_are_not(
    deployment: Deployment,
) -> None:
    bad, good = requested(), requested()
    ports = Ports(refused={bad.decision_id})
    async with (
        deployment.reading("gateway", topics.DECISION) as decisions,
        deployment.reading("gateway", topics.DEAD_LETTER) as letters,
        running(service(deployment, ports)),
    ):
        await deployment.send("gateway", stated(bad), stated(good))
        letter = await next_of(letters, RecordDeadLettered, "no such options")
        await next_of(decisions, OptionsDecided, str(good.decision_id))

    assert isinstance(letter.event, RecordDeadLettered)
    assert letter.event.code == "refused"
    assert str(bad.decision_id) in letter.event.value.decode()


async def test_retries_end_in_the_dead_letter_topic(deployment: Deployment) -> None:
    event = requested()
    ports = Ports(unready={event.decision_id: 99})
    async with (
        deployment.reading("gateway", topics.DEAD_LETTER) as letters,
        running(service(deployment, ports, delivery_attempts=2)),
    ):
        await deployment.send("gateway", stated(event))
        letter = await next_of(letters, RecordDeadLettered, "not yet")

    assert isinstance(letter.event, RecordDeadLettered)
    assert (letter.event.code, letter.event.attempts) == ("retries-exhausted", 2)


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("unsealed", lambda record, headers: (record, [])),
        ("bad-seal", lambda record, headers: (replace(record, value=record.value + b" "), headers)),
        ("bad-seal", lambda record, headers: (record, [("grace-key-id", b"unknown"), headers[-1]])),
        ("bad-seal", lambda record, headers: (record, [*headers, ("grace-seal-path", b"short")])),
        ("bad-seal", lambda record, headers: (record, [("grace-key-id", bytes([255])), headers[-1]])),
        ("bad-seal", lambda record, headers: (replace(record, key=b"other"), headers)),
    ],
)
async def test_a_record_whose_seal_does_not_hold_leaves_one_trace_and_no_effect(
    deployment: Deployment, code: str, spoil: Callable[..., tuple[Outgoing, list[tuple[str, bytes]]]]
) -> None:
    event, after = requested(), requested()
    record = outgoing(stated(event))
    spoiled, headers = spoil(record, list(deployment.workloads["gateway"].sealer().seal(record)))
    ports = Ports()
    async with (
        deployment.reading("gateway", topics.OPERATION) as operations,
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment, ports)),
    ):
        await deployment.send_raw("gateway", spoiled, headers)
        refused = await refusal_of(operations, spoiled)
        await deployment.send("gateway", stated(after))
        await next_of(decisions, OptionsDecided, str(after.decision_id))

    assert refused.code == code
    assert event.decision_id not in ports.seen


async def test_a_seal_moved_to_another_topic_does_not_hold(deployment: Deployment) -> None:
    event = requested()
    elsewhere = replace(outgoing(stated(event)), topic=topics.ROUND.name)
    headers = deployment.workloads["gateway"].sealer().seal(elsewhere)
    record = replace(elsewhere, topic=topics.TASK.name)
    ports = Ports()
    async with deployment.reading("gateway", topics.OPERATION) as operations, running(service(deployment, ports)):
        await deployment.send_raw("gateway", record, headers)
        refused = await refusal_of(operations, record)

    assert refused.code == "bad-seal"
    assert event.decision_id not in ports.seen


async def test_a_service_may_not_write_a_topic_that_is_not_its_own(deployment: Deployment) -> None:
    record = outgoing(stated(requested()))
    headers = deployment.workloads["code-gen"].sealer().seal(record)
    async with deployment.reading("gateway", topics.OPERATION) as operations, running(service(deployment, Ports())):
        await deployment.send_raw("gateway", record, headers)
        refused = await refusal_of(operations, record)

    assert refused.code == "wrong-writer"


async def test_what_a_revoked_key_seals_is_refused(deployment: Deployment) -> None:
    stolen = deployment.authority.issue("service/gateway")
    issued = certificate_issued(stolen, "service/gateway")
    event, before = requested(), requested()
    ports = Ports()
    async with (
        deployment.reading("gateway", topics.OPERATION) as operations,
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment, ports)),
    ):
        await deployment.send("crypto-signer", stated(issued, "/grace/crypto-signer"))
        await deployment.send("gateway", stated(before), workload=stolen)
        await next_of(decisions, OptionsDecided, str(before.decision_id))
        revoked = issued.model_copy(update={"revoked_at": SystemClock().now()})
        await deployment.send("crypto-signer", stated(revoked, "/grace/crypto-signer"))
        # Another key, unknown until now, makes the service catch up with the identity topic.
        other = deployment.authority.issue("service/gateway")
        await deployment.send(
            "crypto-signer", stated(certificate_issued(other, "service/gateway"), "/grace/crypto-signer")
        )
        marker = requested()
        await deployment.send("gateway", stated(marker), workload=other)
        await next_of(decisions, OptionsDecided, str(marker.decision_id))
        fact = stated(event)
        await deployment.send("gateway", fact, workload=stolen)
        refused = await refusal_of(operations, outgoing(fact))

    assert refused.code == "revoked-key"
    assert event.decision_id not in ports.seen


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("refused", b"no envelope"),
        ("refused", b"[1, 2]"),
        ("refused", b'{"specversion": "1.0"}'),
        ("oversized", b"x" * MAX_RECORD_BYTES),
        ("refused", b"x" * 60_000),
    ],
)
async def test_bytes_that_are_no_envelope_go_to_the_dead_letters_as_they_came(
    deployment: Deployment, code: str, value: bytes
) -> None:
    record = Outgoing(topics.TASK.name, b"key", value + str(SystemClock().new_id()).encode())
    async with (
        deployment.reading("gateway", topics.DEAD_LETTER) as letters,
        running(service(deployment, Ports())),
    ):
        producer = deployment.producer("gateway")
        await producer.send([record])
        await producer.close()
        letter = await next_of(letters, RecordDeadLettered, f'"value_bytes":{len(record.value)}')

    assert isinstance(letter.event, RecordDeadLettered)
    assert letter.event.code == code
    assert record.value.startswith(letter.event.value)


async def test_a_newer_version_is_parked_for_after_the_upgrade(deployment: Deployment) -> None:
    record = outgoing(stated(requested()))
    newer = replace(record, value=record.value.replace(b"decision-requested.v1", b"decision-requested.v7"))
    async with deployment.reading("gateway", topics.OPERATION) as operations, running(service(deployment, Ports())):
        producer = deployment.producer("gateway")
        await producer.send([newer])
        await producer.close()
        refused = await refusal_of(operations, newer)

    assert refused.code == "unsupported-version"


async def test_a_bug_stops_the_service_loudly_and_the_record_is_kept(deployment: Deployment) -> None:
    made: EventRouter[None] = EventRouter("consensus")

    @made.on(DecisionRequested)
    async def decide(event: DecisionRequested, ports: None) -> None:
        raise ZeroDivisionError("a bug")

    broken = Service(deployment.settings("consensus"), deployment.database("consensus"), routers=[made])
    event = requested()
    async with running(broken) as task:
        await deployment.send("gateway", stated(event))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(asyncio.shield(task), 60)

    ports = Ports()
    async with deployment.reading("gateway", topics.DECISION) as decisions, running(service(deployment, ports)):
        await next_of(decisions, OptionsDecided, str(event.decision_id))
    assert event.decision_id in ports.seen


async def test_a_dead_letter_is_handled_again_when_an_operator_asks_for_it(deployment: Deployment) -> None:
    event = requested()
    ports = Ports(refused={event.decision_id})
    async with (
        deployment.reading("gateway", topics.DEAD_LETTER) as letters,
        deployment.reading("gateway", topics.DECISION) as decisions,
        running(service(deployment, ports)),
    ):
        await deployment.send("gateway", stated(event))
        letter = (await next_of(letters, RecordDeadLettered, "no such options")).event
        assert isinstance(letter, RecordDeadLettered)
        ports.refused.clear()
        await deployment.send(
            "gateway",
            stated(
                ReplayRequested(
                    refusal_id=letter.refusal_id,
                    consumer=letter.consumer,
                    topic=letter.topic,
                    partition=letter.partition,
                    offset=letter.offset,
                    by="olga",
                )
            ),
        )
        await next_of(decisions, OptionsDecided, str(event.decision_id))

    assert ports.seen.count(event.decision_id) == 2


async def test_a_read_model_takes_the_partitions_of_a_topic_together_and_each_in_its_order(
    deployment: Deployment,
) -> None:
    facts = [stated(requested()) for _ in range(100)]
    partition = {fact.id: partition_of(fact.key, topics.TASK.partitions) for fact in facts}
    batches: list[list[UUID]] = []
    complete = asyncio.Event()
    reading: EventRouter[None] = EventRouter("consensus", "shown")

    @reading.batch(DecisionRequested)
    async def show(envelopes: Sequence[Envelope], ports: None) -> None:
        batches.append([one.id for one in envelopes if one.id in partition])
        if sum(map(len, batches)) == len(facts):
            complete.set()

    await deployment.send("gateway", *facts)
    database = deployment.database("consensus")
    shown = Service(deployment.settings("consensus"), database, ports=None, routers=[reading], clock=SystemClock())
    async with running(shown), asyncio.timeout(60):
        await complete.wait()

    def of(place: int, ids: Iterable[UUID]) -> list[UUID]:
        return [id_ for id_ in ids if partition[id_] == place]

    for place in set(partition.values()):
        assert of(place, chain.from_iterable(batches)) == of(place, [fact.id for fact in facts])
    assert max(len({partition[id_] for id_ in batch}) for batch in batches) == topics.TASK.partitions
