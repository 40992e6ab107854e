"""Read models, raw streams, back-pressure and what a service is made of, on real servers."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError
from grace_cli.testing.deployment import Deployment, outgoing, running, stated
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Attributes, Envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import CandidatesGenerated
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.decision import DecisionReached, OptionsDecided
from grace_common.contract.events.operation import OperationStarted, OperationSucceeded
from grace_common.contract.events.task import DecisionRequested, ReplayRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.router import EventRouter, Work
from grace_common.runtime.seal import Outgoing, SealedRecord
from grace_common.runtime.service import Service
from grace_common.runtime.stream import FrameworkLog, RecordStream


def request() -> Envelope:
    return stated(DecisionRequested.example().model_copy(update={"decision_id": SystemClock().new_id()}))


async def letter_about(deployment_letters: object, text: str) -> RecordDeadLettered:
    async with asyncio.timeout(60):
        async for record in deployment_letters:  # type: ignore[attr-defined]
            event = envelope.open(record.value).event
            if isinstance(event, RecordDeadLettered) and (text in event.reason or text.encode() in event.value):
                return event
    raise AssertionError("the consumer ended")


@dataclass
class Views:
    """A read model in memory. `unready` and `refused` say of which events, and how often."""

    seen: list[UUID] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    unready: dict[UUID, int] = field(default_factory=dict)
    refused: set[UUID] = field(default_factory=set)
    wanted: set[UUID] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def see(self, ids: Sequence[UUID]) -> None:
        await self.gate.wait()
        if any(id_ in self.refused for id_ in ids):
            raise Refused("not in this picture")
        for id_ in ids:
            if self.unready.get(id_, 0) > 0:
                self.unready[id_] -= 1
                raise Unready("not yet in this picture")
        self.seen += ids
        self.sizes.append(len(ids))
        if self.wanted <= set(self.seen):
            self.complete.set()

    async def until(self, facts: Sequence[Envelope]) -> None:
        self.wanted = {fact.id for fact in facts}
        if not self.wanted <= set(self.seen):
            async with asyncio.timeout(120):
                await self.complete.wait()


def read_model(deployment: Deployment, views: Views, **changes: object) -> Service:
    router: EventRouter[Views] = EventRouter("consensus", group=f"views-{SystemClock().new_id()}")

    @router.batch(DecisionRequested)
    async def see(envelopes: Sequence[Envelope], ports: Views) -> None:
        await ports.see([one.id for one in envelopes])

    settings = deployment.settings("consensus", **changes)
    return Service(settings, deployment.database("consensus"), ports=views, routers=[router])


async def test_a_read_model_gets_many_records_in_one_transaction_and_each_in_its_order(deployment: Deployment) -> None:
    views, facts = Views(), [request() for _ in range(60)]
    one_task = [
        stated(DecisionRequested.example().model_copy(update={"decision_id": UUID(int=7), "question": str(number)}))
        for number in range(20)
    ]
    await deployment.send("gateway", *facts, *one_task)
    async with running(read_model(deployment, views)):
        await views.until([*facts, *one_task])

    assert max(views.sizes) > 1
    of_the_task = [id_ for id_ in views.seen if id_ in {fact.id for fact in one_task}]
    assert of_the_task == [fact.id for fact in one_task]


async def test_one_record_that_a_read_model_refuses_costs_its_neighbours_nothing(deployment: Deployment) -> None:
    facts = [request() for _ in range(10)]
    views = Views(refused={facts[3].id}, unready={facts[5].id: 2, facts[7].id: 99})
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters:
        await deployment.send("gateway", *facts)
        async with running(read_model(deployment, views, delivery_attempts=3)):
            await views.until([fact for number, fact in enumerate(facts) if number not in (3, 7)])
            found = [await letter_about(letters, "in this picture") for _ in range(2)]

    codes = {one.code: one for one in found}
    assert facts[3].key in codes["refused"].value
    assert facts[7].key in codes["retries-exhausted"].value
    assert codes["retries-exhausted"].attempts == 3


async def test_what_a_raw_route_refuses_costs_its_neighbours_nothing(deployment: Deployment) -> None:
    facts = [request() for _ in range(10)]
    views = Views(refused={facts[3].id})
    router: EventRouter[Views] = EventRouter("consensus", group=f"views-{SystemClock().new_id()}")

    @router.raw(DecisionRequested)
    async def see(records: Sequence[Attributes], ports: Views) -> None:
        await ports.see([UUID(one["id"]) for one in records])

    service = Service(deployment.settings("consensus"), deployment.database("consensus"), ports=views, routers=[router])
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters:
        await deployment.send("gateway", *facts)
        async with running(service):
            await views.until([fact for number, fact in enumerate(facts) if number != 3])
            letter = await letter_about(letters, "in this picture")

    assert (letter.code, facts[3].key in letter.value) == ("refused", True)


@dataclass
class Notary:
    """A handler of a raw stream."""

    begin: int | None = None
    refused: set[bytes] = field(default_factory=set)
    unready: int = 0
    records: list[SealedRecord] = field(default_factory=list)
    arrived: asyncio.Queue[SealedRecord] = field(default_factory=asyncio.Queue)

    async def start_at(self, topic: str, partition: int) -> int | None:
        return self.begin

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        if self.unready:
            self.unready -= 1
            raise ConnectionRefusedError("the store is away")
        for record in records:
            self.records.append(record)
            self.arrived.put_nowait(record)

    async def got(self, value: bytes) -> SealedRecord:
        async with asyncio.timeout(60):
            while (record := await self.arrived.get()).value != value:
                """Another's."""
        return record


def streaming(deployment: Deployment, notary: Notary) -> Service:
    group = f"notary-{SystemClock().new_id()}"
    stream = RecordStream("consensus", group, (topics.TASK,), notary)
    return Service(deployment.settings("consensus"), deployment.database("consensus"), streams=[stream])


async def test_a_stream_gets_the_exact_bytes_with_who_sealed_them_and_when(deployment: Deployment) -> None:
    notary, fact = Notary(), request()
    async with running(streaming(deployment, notary)):
        await deployment.send("gateway", fact)
        record = await notary.got(envelope.encode(fact))

    assert (record.topic, record.key) == ("grace.task.v1", fact.key)
    assert record.signer.subject == "service/gateway"
    assert record.timestamp.utcoffset() is not None


async def test_a_stream_begins_where_its_handler_says_and_waits_while_its_store_is_away(
    deployment: Deployment,
) -> None:
    fact, again = request(), Notary(begin=0, unready=2)
    await deployment.send("gateway", fact)
    async with running(streaming(deployment, again)):
        await again.got(envelope.encode(fact))

    assert again.records[0].offset == 0


async def test_a_place_that_the_group_never_came_to_is_of_a_log_that_was_lost(deployment: Deployment) -> None:
    fact, notary = request(), Notary(begin=1)
    await deployment.send("gateway", request(), fact)
    async with running(streaming(deployment, notary)):
        await notary.got(envelope.encode(fact))

    assert min(record.offset for record in notary.records) == 0


async def test_a_service_that_stops_commits_what_is_done_and_begins_after_it_the_next_time(
    deployment: Deployment,
) -> None:
    notary, fact, next_fact = Notary(), request(), request()
    service = streaming(deployment, notary)
    async with running(service):
        await deployment.send("gateway", fact)
        await notary.got(envelope.encode(fact))
    notary.records.clear()

    await deployment.send("gateway", next_fact)
    stream = RecordStream("consensus", service.streams[0].group, (topics.TASK,), notary)
    again = Service(deployment.settings("consensus"), deployment.database("consensus"), streams=[stream])
    async with running(again):
        await notary.got(envelope.encode(next_fact))

    assert [record.value for record in notary.records] == [envelope.encode(next_fact)]


async def test_a_stream_leaves_out_what_no_seal_covers(deployment: Deployment) -> None:
    notary, good = Notary(), request()
    bad = replace_value(outgoing(request()))
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters, running(streaming(deployment, notary)):
        await deployment.send_raw("gateway", bad, [])
        await deployment.send("gateway", good)
        await notary.got(envelope.encode(good))
        letter = await letter_about(letters, bad.key.decode())

    assert letter.code == "unsealed"
    assert bad.value not in [record.value for record in notary.records]


def replace_value(record: Outgoing) -> Outgoing:
    return Outgoing(record.topic, record.key, record.value + b" ")


async def test_a_bug_in_a_stream_stops_the_service(deployment: Deployment) -> None:
    class Broken(Notary):
        async def handle(self, records: Sequence[SealedRecord]) -> None:
            raise ZeroDivisionError("a bug")

    await deployment.send("gateway", request())
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(streaming(deployment, Broken()).run(), 60)


def deciding(deployment: Deployment, **parts: object) -> Service:
    """A consensus that reaches outside, and states its progress meanwhile."""
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(DecisionRequested, emits=(OptionsDecided, DecisionReached), outside=True)
    async def decide(event: DecisionRequested, ports: None, work: Work) -> list[Event]:
        await work.state(DecisionReached.example().model_copy(update={"task_id": event.decision_id}))
        return [OptionsDecided.example().model_copy(update={"decision_id": event.decision_id})]

    database = deployment.database("consensus")
    return Service(deployment.settings("consensus"), database, routers=[router], **parts)  # type: ignore[arg-type]


async def test_work_outside_is_on_record_before_its_progress_and_its_answer(deployment: Deployment) -> None:
    fact = request()
    async with (
        deployment.reading("gateway", topics.DECISION) as decisions,
        deployment.reading("gateway", topics.OPERATION) as operations,
        running(deciding(deployment)),
    ):
        await deployment.send("gateway", fact, fact)
        kinds: list[type[Event]] = []
        async with asyncio.timeout(60):
            while len(kinds) < 2:
                opened = envelope.open((await decisions.getone()).value)
                kinds += [type(opened.event)] if opened.causation == fact.id else []
            told: list[Envelope] = []
            while not told or not isinstance(told[-1].event, OperationSucceeded):
                opened = envelope.open((await operations.getone()).value)
                told += [opened] if opened.causation == fact.id else []

    assert kinds == [DecisionReached, OptionsDecided]
    assert [type(one.event) for one in told] == [OperationStarted, OperationSucceeded]
    assert isinstance(told[1].event, OperationSucceeded)
    assert len(told[1].event.wrote) == 2
    assert told[1].event.read == (fact.id,)


async def test_an_event_on_another_events_topic_is_refused(deployment: Deployment) -> None:
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(CandidatesGenerated)
    async def count(event: CandidatesGenerated, ports: None) -> None:
        """Never reached."""

    @router.on(DecisionRequested)
    async def hear(event: DecisionRequested, ports: None) -> None:
        """Subscribe to the topic."""

    misplaced = stated(CandidatesGenerated.example())
    record = Outgoing(topics.TASK.name, misplaced.key, envelope.encode(misplaced))
    one = Service(deployment.settings("consensus"), deployment.database("consensus"), routers=[router])
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters, running(one):
        await deployment.send_raw("gateway", record, deployment.workloads["gateway"].sealer().seal(record))
        letter = await letter_about(letters, str(misplaced.id))

    assert letter.reason == "grace.candidates-generated.v1 belongs on grace.candidate.v1, not on grace.task.v1"


async def test_the_replay_of_a_record_that_is_gone_is_refused(deployment: Deployment) -> None:
    asked = ReplayRequested(
        refusal_id=SystemClock().new_id(),
        consumer="consensus",
        topic="grace.task.v1",
        partition=0,
        offset=10**9,
        by="olga",
    )
    foreign = asked.model_copy(update={"consumer": "code-gen"})
    async with deployment.reading("gateway", topics.DEAD_LETTER) as letters, running(deciding(deployment)):
        await deployment.send("gateway", stated(foreign), stated(asked))
        letter = await letter_about(letters, "its retention is over")

    assert str(asked.refusal_id) in letter.value.decode()


async def test_the_readiness_names_each_part_and_what_its_own_check_says(deployment: Deployment) -> None:
    lacking = ["bubblewrap is missing"]

    async def sandbox() -> None:
        if lacking:
            raise Unready(lacking[0])

    one = deciding(deployment, checks={"sandbox": sandbox})
    before = await one.readiness()
    assert before["broker"] == "not started"
    assert before["consumers"] == "waiting for the broker or the database"
    lacking.clear()
    async with running(one):
        lacking.append("bubblewrap is missing")
        assert {name: why for name, why in (await one.readiness()).items() if why} == {
            "sandbox": "bubblewrap is missing"
        }


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), asyncio.CancelledError(), None])
async def test_a_part_that_ends_by_itself_ends_the_service(deployment: Deployment, error: BaseException | None) -> None:
    may_end = asyncio.Event()

    async def timer() -> None:
        await may_end.wait()
        if error is not None:
            raise error

    async with running(deciding(deployment, background=[timer])) as task:
        may_end.set()
        bug = isinstance(error, ZeroDivisionError)
        with pytest.raises(ZeroDivisionError if bug else RuntimeError, match="a bug" if bug else "ended by itself"):
            await asyncio.wait_for(asyncio.shield(task), 60)


async def test_a_service_states_facts_in_the_transaction_that_is_open(deployment: Deployment) -> None:
    database = deployment.database("consensus")
    one = Service(deployment.settings("consensus"), database)
    fact = stated(OptionsDecided.example(), "/grace/consensus")

    async def fail() -> None:
        async with database.transaction():
            await one.state([fact])
            raise ZeroDivisionError

    before = await Outbox(database).backlog()
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await Outbox(database).backlog() == before
    await database.close()


async def test_what_keeps_a_consumer_from_reading_ends_the_service_unless_waiting_or_people_heal_it() -> None:
    stopped_by = asyncio.get_running_loop().create_future()
    log = FrameworkLog(stopped_by)

    log.log(logging.ERROR, "Kafka error occurred", exc_info=KafkaConnectionError("lost"))
    log.log(logging.ERROR, "Kafka error occurred", exc_info=TopicAuthorizationFailedError("not provisioned yet"))
    log.log(logging.INFO, "Received")
    assert not stopped_by.done()

    log.log(logging.ERROR, "Kafka error occurred", exc_info=KafkaError("what nobody expects"))
    assert isinstance(stopped_by.exception(), KafkaError)


# The last one: whoever reads from the topic's beginning after it has all of its records to handle first.
async def test_a_reader_that_falls_behind_stops_fetching_and_goes_on_when_it_has_caught_up(
    deployment: Deployment,
) -> None:
    views = Views()
    key = SystemClock().new_id()
    facts = [
        stated(DecisionRequested.example().model_copy(update={"decision_id": key, "question": str(number)}))
        for number in range(2500)
    ]
    views.gate.clear()
    await deployment.send("gateway", *facts)
    async with running(read_model(deployment, views)) as task:
        assert not task.done()
        await asyncio.sleep(0)
        views.gate.set()
        await views.until(facts)

    mine = [id_ for id_ in views.seen if id_ in views.wanted]
    assert mine == [fact.id for fact in facts]
