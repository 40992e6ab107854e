"""The identity follower on a real broker: a revocation is known in time, or nothing is let through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from confluent_kafka.admin import AdminClient
from grace_cli.stack.provision import provision_kafka
from grace_cli.testing.deployment import PASSWORDS, Deployment, outgoing, stated
from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.task import DecisionRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.follower import MOST_LAG_S, IdentityFollower
from grace_common.runtime.identity import Authorities, Directory, RevokedKey, Workload
from grace_common.runtime.outbox import Outbox
from grace_common.runtime.seal import KEY_ID_HEADER, SEAL_HEADER, SealedRecord
from grace_common.runtime.stream import Gate
from grace_common.testing.certificates import certificate_issued


@dataclass
class Seconds:
    """A clock that moves a little with each look, and further when told."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


@dataclass
class World:
    """A follower with its gate, and a gateway's key to be revoked."""

    deployment: Deployment
    seconds: Seconds
    follower: IdentityFollower
    gate: Gate
    stolen: Workload
    emptied: asyncio.Event

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.follower.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def state(self, **changes: object) -> None:
        """State the key's certificate on the identity topic."""
        issued = certificate_issued(self.stolen, "service/gateway", **changes)
        await self.deployment.send("crypto-signer", stated(issued, "/grace/crypto-signer"))

    async def revoke(self) -> None:
        await self.state(revoked_at=SystemClock().now())

    async def record(self) -> Any:
        """A record that the key seals now, as the broker gives it."""
        fact = stated(DecisionRequested.example())
        async with self.deployment.reading("consensus", topics.TASK) as consumer:
            await self.deployment.send("gateway", fact, workload=self.stolen)
            return await consumer.getone()

    async def checked(self, record: Any = None) -> SealedRecord:
        """The gate's answer to one record; raises its refusal."""
        [answer] = await self.gate.check([record if record is not None else await self.record()])
        if isinstance(answer, Refused):
            raise answer
        return answer

    def lag(self) -> None:
        self.seconds.now += MOST_LAG_S + 0.1


@pytest.fixture
async def world(deployment: Deployment) -> World:
    settings = deployment.settings("consensus")
    seconds, emptied = Seconds(), asyncio.Event()
    directory = Directory(lambda: Authorities((deployment.authority.certificate,)), settings.trust_domain)
    follower = IdentityFollower(settings, directory, seconds, emptied=emptied)
    outbox = Outbox(deployment.database("consensus"))
    stolen = deployment.authority.issue("service/gateway")
    made = World(deployment, seconds, follower, Gate("consensus", follower, outbox, SystemClock()), stolen, emptied)
    await made.state()
    return made


async def test_a_record_passes_without_a_question_while_the_topic_was_read_lately(world: World) -> None:
    assert world.follower.lags
    async with world.following():
        await world.follower.catch_up()

    assert not world.follower.lags
    assert (await world.checked()).signer.subject == "service/gateway"


async def test_a_follower_out_of_touch_lets_nothing_pass_until_it_has_caught_up(world: World) -> None:
    async with world.following():
        await world.follower.catch_up()
    await world.revoke()
    late = await world.record()
    world.lag()

    checking = asyncio.create_task(world.checked(late))
    done, _ = await asyncio.wait([checking], timeout=0.1)
    assert not done
    async with world.following():
        with pytest.raises(RevokedKey, match="was revoked"):
            await checking


async def test_catching_up_learns_what_was_stated_before_and_is_in_touch_again(world: World) -> None:
    async with world.following():
        await world.follower.catch_up()
        await world.revoke()
        await world.follower.catch_up()

        with pytest.raises(RevokedKey):
            await world.checked()
        world.lag()
        await world.follower.catch_up()
        assert not world.follower.lags


async def test_an_idle_follower_stays_in_touch_and_hears_of_a_revocation_by_itself(world: World) -> None:
    async with world.following():
        await world.follower.catch_up()
        key_id = world.stolen.sealer().key_id
        await world.revoke()
        async with asyncio.timeout(30):
            while True:
                if world.follower.directory.keys[key_id].revoked_at is not None:
                    break
                await asyncio.sleep(0.01)


async def test_hostile_records_on_the_identity_topic_do_not_stop_it(world: World) -> None:
    good = outgoing(stated(certificate_issued(world.stolen, "service/gateway"), "/grace/crypto-signer"))
    sealed = world.deployment.workloads["crypto-signer"].sealer().seal(good)
    for headers in ([(KEY_ID_HEADER, None), (SEAL_HEADER, None)], [], [*sealed, (SEAL_HEADER, b"short")]):
        await world.deployment.send_raw("crypto-signer", good, headers)
    for value in (b"no envelope", b""):
        await world.deployment.send_raw("crypto-signer", replace(good, value=value), sealed)

    async with world.following():
        await world.follower.catch_up()

    assert (await world.checked()).signer.subject == "service/gateway"


async def test_without_a_connection_the_broker_is_not_reached(world: World) -> None:
    with pytest.raises(KafkaConnectionError):
        await world.follower.reach()
    async with world.following():
        await world.follower.catch_up()
        await world.follower.reach()


async def test_a_topic_made_anew_is_read_from_its_beginning(world: World) -> None:
    deployment = world.deployment
    signer = certificate_issued(deployment.workloads["crypto-signer"], "service/crypto-signer")
    async with world.following():
        await world.follower.catch_up()
        admin = AdminClient(deployment.kafka.admin_config() | {"log_level": 0})
        admin.delete_topics([topics.IDENTITY.name], operation_timeout=60)[topics.IDENTITY.name].result(60)
        provision_kafka(deployment.kafka.admin_config(), PASSWORDS)
        await deployment.send("crypto-signer", stated(signer, "/grace/crypto-signer"))
        await world.revoke()
        await world.follower.catch_up()

        with pytest.raises(RevokedKey):
            await world.checked()
        assert world.emptied.is_set()


async def test_nothing_counts_as_known_while_the_broker_does_not_even_know_this_process(world: World) -> None:
    deployment, settings = world.deployment, world.deployment.settings("consensus")
    new = deployment.authority.issue("service/consensus")
    directory = Directory(lambda: Authorities((deployment.authority.certificate,)), settings.trust_domain)
    follower = IdentityFollower(settings, directory, world.seconds, own=new.sealer().key_id)
    following = asyncio.create_task(follower.run())
    caught_up = asyncio.create_task(follower.catch_up())
    async with asyncio.timeout(60):
        while True:
            if world.stolen.sealer().key_id in directory.keys:
                break
            await asyncio.sleep(0.01)

    assert follower.lags
    assert not caught_up.done()
    issued = certificate_issued(new, "service/consensus")
    await deployment.send("crypto-signer", stated(issued, "/grace/crypto-signer"))
    await caught_up
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
