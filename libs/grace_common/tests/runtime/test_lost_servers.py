"""A database or a broker that is lost is waited for, and a service that stops hands back: nothing is lost or doubled.

These tests kill servers, so they have a pair of their own.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from grace_cli.stack.embedded import EmbeddedKafka, EmbeddedPostgres
from grace_cli.testing.containers import ContainerKafka, ContainerPostgres
from grace_cli.testing.deployment import Deployment, deploy, running, stated
from grace_cli.testing.stack import default_cache, use_containers
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.events.base import Event
from grace_common.contract.events.decision import OptionsDecided
from grace_common.contract.events.task import DecisionRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.router import EventRouter
from grace_common.runtime.service import Service
from sqlalchemy import text

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose servers may be killed.

    They are started in the tests' own thread, for the kernel ends a child with the thread that started it.
    """
    containers = use_containers(os.environ.get("GRACE_TEST_STACK"))
    with (
        ContainerKafka() if containers else EmbeddedKafka(default_cache()) as kafka,
        ContainerPostgres() if containers else EmbeddedPostgres(default_cache()) as postgres,
    ):
        yield deploy(kafka, postgres, tmp_path_factory.mktemp("own"))


@dataclass
class Ports:
    """What the handlers did; while `gate` is closed they wait at it."""

    seen: list[UUID] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0


def service(own: Deployment, ports: Ports, *, outside: bool = False, instance: str = "0") -> Service:
    router: EventRouter[Ports] = EventRouter("consensus")

    @router.on(DecisionRequested, emits=(OptionsDecided,), outside=outside)
    async def decide(event: DecisionRequested, ports: Ports) -> Sequence[Event]:
        ports.entered.set()
        try:
            await ports.gate.wait()
        except asyncio.CancelledError:
            ports.cancelled += 1
            raise
        ports.seen.append(event.decision_id)
        return [OptionsDecided.example().model_copy(update={"decision_id": event.decision_id})]

    settings = own.settings("consensus", instance=instance)
    return Service(settings, own.database("consensus"), ports=ports, routers=[router])


def requests(count: int) -> list[Envelope]:
    clock = SystemClock()
    return [
        stated(DecisionRequested.example().model_copy(update={"decision_id": clock.new_id()})) for _ in range(count)
    ]


@asynccontextmanager
async def answers(own: Deployment) -> AsyncIterator[Callable[[Sequence[Envelope]], Any]]:
    """Yield a function that returns, once every fact is answered, the answers' ids by the id of their cause."""
    async with own.reading("gateway", topics.DECISION) as consumer:

        async def to(facts: Sequence[Envelope]) -> Mapping[UUID, set[UUID]]:
            found: dict[UUID, set[UUID]] = {fact.id: set() for fact in facts}
            async with asyncio.timeout(120):
                while not all(found.values()):
                    opened = envelope.open((await consumer.getone()).value)
                    if opened.causation in found:
                        found[opened.causation].add(opened.id)
            return found

        yield to


async def effects(own: Deployment, facts: Sequence[Envelope]) -> int:
    """How many of these facts the inbox knows, copies counted."""
    database = own.database("consensus")
    async with database.reading() as connection:
        ids = {"ids": [fact.id for fact in facts]}
        counted = await connection.scalar(text("SELECT count(*) FROM inbox WHERE event_id = ANY(:ids)"), ids)
    await database.close()
    return int(counted or 0)


async def readiness(one: Service, until: Callable[[Mapping[str, str | None]], bool]) -> Mapping[str, str | None]:
    """Ask for the readiness until it is as told, and return it."""
    async with asyncio.timeout(120):
        while True:
            found = await one.readiness()
            if until(found):
                return found
            await asyncio.sleep(0.05)


async def missing(one: Service, component: str) -> str:
    """Wait until a component is not ready, and return what it says."""
    return str((await readiness(one, lambda found: found[component] is not None))[component])


async def ready(one: Service) -> None:
    await readiness(one, lambda found: not any(found.values()))


async def sent(one: Service) -> None:
    """Wait until nothing is left to be sent."""
    async with asyncio.timeout(60):
        while True:
            if not await one.outbox.backlog():
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
async def test_a_database_that_dies_in_mid_work_is_waited_for(own: Deployment, outside: bool) -> None:
    ports, facts = Ports(), requests(20)
    one = service(own, ports, outside=outside)
    async with answers(own) as answered, running(one):
        await own.send("gateway", *facts[:10])
        await ports.entered.wait()  # the work is under way, in an open transaction where it is inside
        own.postgres.kill()
        ports.gate.set()
        await own.send("gateway", *facts[10:])
        assert "PostgreSQL" in await missing(one, "database")
        own.postgres.start()
        found = await answered(facts)
        await ready(one)

    assert {len(ids) for ids in found.values()} == {1}
    assert await effects(own, facts) == len(facts)
    if outside:  # what was done outside is not done over because the database was away at its end
        assert len(ports.seen) == len(facts)


async def test_a_broker_that_dies_is_waited_for_and_gets_what_was_stated_meanwhile(own: Deployment) -> None:
    ports, facts = Ports(), requests(20)
    ports.gate.set()
    one = service(own, ports)
    async with running(one):
        own.kafka.kill()
        assert "Kafka does not answer" in await missing(one, "broker")
        # A fact of the service's own, stated while nobody can take it.
        waiting = stated(OptionsDecided.example().model_copy(update={"decision_id": SystemClock().new_id()}))
        await one.state([waiting])
        own.kafka.start()
        await ready(one)
        async with answers(own) as answered:
            await own.send("gateway", *facts)
            found = await answered(facts)
        await sent(one)

    assert {len(ids) for ids in found.values()} == {1}
    assert await effects(own, facts) == len(facts)


async def test_a_service_that_stops_finishes_what_it_holds_and_hands_back_the_rest(own: Deployment) -> None:
    first, second, facts = Ports(), Ports(), requests(30)
    second.gate.set()
    async with answers(own) as answered:
        stopping = service(own, first)
        async with running(stopping) as task:
            await own.send("gateway", *facts)
            await first.entered.wait()
            stopping.end()
            first.gate.set()
            await task
        finished = set(first.seen)
        async with running(service(own, second)):
            found = await answered(facts)

    assert first.cancelled == 0
    assert not finished & set(second.seen)
    assert {len(ids) for ids in found.values()} == {1}
    assert await effects(own, facts) == len(facts)


async def test_a_second_instance_shares_the_partitions_and_takes_them_over(own: Deployment) -> None:
    first, second, before, after = Ports(), Ports(), requests(20), requests(20)
    first.gate.set()
    second.gate.set()
    async with answers(own) as answered, running(service(own, second, instance="1")):
        async with running(service(own, first, instance="0")):
            await own.send("gateway", *before)
            found = dict(await answered(before))
        await own.send("gateway", *after)
        found |= await answered(after)

    assert {len(ids) for ids in found.values()} == {1}
    assert await effects(own, [*before, *after]) == len(before) + len(after)


@pytest.mark.parametrize(
    ("server", "component", "says"),
    [("postgres", "database", "GRACE_DATABASE_URL"), ("kafka", "broker", "GRACE_KAFKA_BOOTSTRAP")],
)
async def test_a_service_started_without_a_server_says_what_is_missing_and_begins_when_it_is_there(
    own: Deployment, server: str, component: str, says: str
) -> None:
    ports, facts, absent = Ports(), requests(3), getattr(own, server)
    ports.gate.set()
    absent.kill()
    one = service(own, ports)
    task = asyncio.create_task(one.run())
    said = (await readiness(one, lambda found: found[component] not in (None, "not started")))[component]
    absent.start()
    await ready(one)
    async with answers(own) as answered:
        await own.send("gateway", *facts)
        found = await answered(facts)
    one.end()
    await task

    assert says in str(said)
    assert {len(ids) for ids in found.values()} == {1}


@pytest.mark.parametrize("server", ["postgres", "kafka"])
async def test_a_service_that_waits_for_a_server_can_be_stopped(own: Deployment, server: str) -> None:
    absent = getattr(own, server)
    absent.kill()
    one = service(own, Ports())
    task = asyncio.create_task(one.run())
    await missing(one, "consumers")
    one.end()
    await task
    absent.start()
