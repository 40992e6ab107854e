"""The outbox and its relay, on a real PostgreSQL and a real Kafka: order, marks, coverage, sending again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from aiokafka.errors import KafkaConnectionError
from grace_cli.testing.deployment import Deployment, stated
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.events.base import Event
from grace_common.contract.events.dead_letter import RecordDeadLettered
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed, SealedEntry
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database, observer
from grace_common.runtime.operation import table_of
from grace_common.runtime.outbox import BATCH, Coverage, Outbox, Relay, next_look
from grace_common.runtime.seal import Outgoing, SealedRecord, Signer
from grace_common.testing.events import NOON, approach_proposed
from sqlalchemy import text


@dataclass
class Broker:
    """A producer in memory, lost as often as told."""

    lost: int = 0
    received: list[Outgoing] = field(default_factory=list)
    lost_once: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.lost:
            self.lost -= 1
            self.lost_once.set()
            raise KafkaConnectionError("lost")
        self.received += records
        self.arrived.set()


@pytest.fixture
async def database(deployment: Deployment) -> AsyncIterator[Database]:
    made = deployment.database("code-gen")
    async with made.transaction() as connection:
        await connection.execute(text("TRUNCATE outbox, outbox_unsent"))
    yield made
    await made.close()


def relay_of(database: Database, producer: object, resend_s: float = 3600) -> Relay:
    return Relay(database, Outbox(database), producer, resend_s=resend_s)  # type: ignore[arg-type]


def fact(event: Event | None = None) -> Envelope:
    return stated(event or approach_proposed(), "/grace/code-gen")


async def until_somebody_waits(database: Database) -> None:
    """Return once a statement of this role waits for another's lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND wait_event_type = 'Lock'")
    async with database.reading() as connection:
        for _ in range(6000):
            if await connection.scalar(waiting):
                return
            await asyncio.sleep(0.01)
    raise TimeoutError("nothing waits")


async def rows(database: Database) -> list[tuple[UUID, bool]]:
    """The outbox in its order: the event's id, and whether it was sent."""
    async with database.reading() as connection:
        found = await connection.execute(
            text("SELECT event_id, position NOT IN (SELECT position FROM outbox_unsent) FROM outbox ORDER BY position")
        )
        return [(row[0], row[1]) for row in found]


async def test_facts_are_sent_in_the_order_in_which_they_were_stated(
    deployment: Deployment, database: Database
) -> None:
    facts = [fact() for _ in range(BATCH + 10)]
    await Outbox(database).state(facts)
    relay = relay_of(database, deployment.producer("code-gen"))

    async with deployment.reading("gateway", topics.CANDIDATE) as candidates:
        assert [await relay.relay_once(), await relay.relay_once(), await relay.relay_once()] == [BATCH, 10, 0]
        received = [envelope.open((await candidates.getone()).value).id for _ in facts]
        await relay._producer.close()

    assert received == [one.id for one in facts]
    assert await rows(database) == [(one.id, True) for one in facts]


async def test_a_row_is_marked_only_when_the_broker_has_acknowledged_it(database: Database) -> None:
    broker, waiting = Broker(lost=1), fact()
    await Outbox(database).state([waiting])
    relay = relay_of(database, broker)

    with pytest.raises(KafkaConnectionError):
        await relay.relay_once()
    assert await rows(database) == [(waiting.id, False)]
    await relay.relay_once()
    assert await rows(database) == [(waiting.id, True)]


async def test_the_relay_waits_out_a_lost_broker_and_says_so(database: Database) -> None:
    broker, waiting = Broker(lost=2), fact()
    outbox = Outbox(database)
    relay = Relay(database, outbox, broker, resend_s=3600)  # type: ignore[arg-type]
    await outbox.state([waiting])
    running = asyncio.create_task(relay.run())

    async with asyncio.timeout(60):
        await broker.lost_once.wait()
        assert not relay.healthy
        await broker.arrived.wait()
        broker.arrived.clear()
        await outbox.state([fact()])  # this wakes it
        await broker.arrived.wait()
    assert relay.healthy
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert broker.received[0] == Outgoing("grace.candidate.v1", waiting.key, envelope.encode(waiting))


async def test_what_is_not_notarized_goes_when_the_broker_has_it(database: Database) -> None:
    letter, proposed = fact(RecordDeadLettered.example()), fact()
    await Outbox(database).state([letter, proposed])

    await relay_of(database, Broker()).relay_once()

    assert await rows(database) == [(proposed.id, True)]


async def test_the_first_fact_of_an_id_wins(database: Database) -> None:
    first = fact()
    outbox = Outbox(database)
    broker = Broker()
    await outbox.state([first])
    await outbox.state([Envelope(**{name: getattr(first, name) for name in first.__slots__} | {"actor": "mallory"})])
    await outbox.state([])

    await relay_of(database, broker).relay_once()

    assert [envelope.open(one.value) for one in broker.received] == [first]


async def test_what_a_transaction_rolled_back_was_never_stated(database: Database) -> None:
    outbox = Outbox(database)

    async def fail() -> None:
        async with database.transaction():
            await outbox.add([fact()])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert (await rows(database), await outbox.backlog(), outbox.wake.is_set()) == ([], 0, False)


async def test_facts_need_an_open_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError, match="no transaction is open"):
        await Outbox(database).add([fact()])


def sealed(event: Event) -> SealedRecord:
    """A record of the audit-log as a stream hands it over."""
    value = envelope.encode(stated(event, "/grace/audit-log"))
    return SealedRecord("grace.ledger.v1", 0, 0, b"log", value, NOON, Signer("service/audit-log", "k"))


def entry(id_: UUID, service: str) -> SealedEntry:
    [example] = EntriesSealed.example().entries
    return example.model_copy(update={"entry_id": id_, "service": service})


async def test_rows_go_when_a_checkpoint_covers_them_and_only_the_services_own(database: Database) -> None:
    covered, uncovered, foreign = fact(), fact(), fact()
    await Outbox(database).state([covered, uncovered, foreign])
    await relay_of(database, Broker()).relay_once()
    coverage = Coverage(database, "code-gen")

    entries = (entry(covered.id, "code-gen"), entry(foreign.id, "gateway"))
    await coverage.handle([sealed(EntriesSealed(entries=entries, tree_size=2)), sealed(CheckpointPublished.example())])
    await coverage.handle([])

    assert await rows(database) == [(uncovered.id, True), (foreign.id, True)]
    assert await coverage.start_at("grace.ledger.v1", 0) is None


async def test_what_no_checkpoint_covers_in_time_is_sent_again_as_it_was(database: Database) -> None:
    broker, forgotten = Broker(), fact()
    await Outbox(database).state([forgotten])
    relay = relay_of(database, broker, resend_s=0.001)
    await relay.relay_once()

    watching = asyncio.create_task(relay.watch_coverage())
    async with asyncio.timeout(60):
        while len(broker.received) < 2:
            await relay.relay_once()
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert broker.received[0] == broker.received[1]


async def test_only_what_had_been_sent_that_long_ago_is_sent_again(database: Database) -> None:
    outbox, relay = Outbox(database), relay_of(database, Broker(), resend_s=30)
    early, late, waiting = fact(), fact(), fact()

    await outbox.state([early])
    await relay.relay_once()
    looks = [await relay.resend_uncovered(now_s=100)]
    await outbox.state([late])
    looks.append(await relay.resend_uncovered(now_s=115))  # `late` waits yet
    await relay.relay_once()
    await outbox.state([waiting])
    looks += [await relay.resend_uncovered(now_s=129.9), await relay.resend_uncovered(now_s=130)]
    assert await rows(database) == [(early.id, False), (late.id, True), (waiting.id, False)]
    looks.append(await relay.resend_uncovered(now_s=145))  # 30 s ago `late` was not sent
    await relay.relay_once()
    looks += [await relay.resend_uncovered(now_s=150), await relay.resend_uncovered(now_s=179)]
    assert await relay.resend_uncovered(now_s=180) == 3

    assert looks == [0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("first", ["let go", "sent again"])
async def test_a_row_that_is_let_go_while_it_is_to_be_sent_again_waits_for_nothing(
    database: Database, first: str
) -> None:
    stated_ = fact()
    outbox, relay = Outbox(database), relay_of(database, Broker(), resend_s=30)
    await outbox.state([stated_])
    await relay.relay_once()
    await relay.resend_uncovered(now_s=0)
    record = sealed(EntriesSealed(entries=(entry(stated_.id, "code-gen"),), tree_size=1))
    works = [lambda: Coverage(database, "code-gen").handle([record]), lambda: relay.resend_uncovered(now_s=30)]
    leading, following = works if first == "let go" else reversed(works)

    async with database.transaction():
        await leading()
        behind = asyncio.create_task(following(), context=Context())  # in a transaction of its own
        await until_somebody_waits(database)
    await behind

    assert (await rows(database), await outbox.backlog()) == ([], 0)


def test_copies_become_rare_while_the_ledger_is_behind_and_are_looked_for_as_before_when_it_is_not() -> None:
    pauses = [0.0]
    for resent in (False, True, True, True, False, True):
        pauses.append(next_look(30, pauses[-1], resent=resent))

    assert pauses[1:] == [15, 60, 120, 240, 15, 60]
    assert next_look(30, 1e6, resent=True) == 30 * 64


async def test_ids_of_the_clock_are_in_the_order_of_their_making() -> None:
    clock = SystemClock()
    ids = [clock.new_id() for _ in range(3)]

    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    assert clock.now().utcoffset() is not None


async def test_an_operation_that_states_facts_is_on_record_with_the_table_that_it_wrote(database: Database) -> None:
    statements: list[tuple[str, int]] = []
    token = observer.set(lambda sql, count, seconds: statements.append((table_of(sql), count)))
    try:
        await Outbox(database).state([fact(), fact(), fact()])
    finally:
        observer.reset(token)

    assert statements == [("outbox", 3)]
