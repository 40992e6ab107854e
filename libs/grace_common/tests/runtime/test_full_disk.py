"""PostgreSQL without space: work waits, the readiness says why, and all of it is done when there is space again.

The disk of the session's server cannot be filled, so a trigger raises what PostgreSQL raises then; cli/tests/stack
fills a real one.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from grace_cli.testing.deployment import Deployment, running, stated
from grace_common.contract import envelope, topics
from grace_common.contract.events.base import Event
from grace_common.contract.events.decision import OptionsDecided
from grace_common.contract.events.task import DecisionRequested
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.router import EventRouter
from grace_common.runtime.service import Service
from sqlalchemy import text

FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file "base/5/16385": No space left on device' USING ERRCODE = 'disk_full';
END $$
"""


@asynccontextmanager
async def full_disk(deployment: Deployment) -> AsyncIterator[None]:
    """Nothing can be written to the service's outbox until the block ends."""
    database = deployment.database("consensus")
    async with database.transaction() as connection:
        await connection.execute(text(FULL))
        await connection.execute(text("CREATE TRIGGER full_disk BEFORE INSERT ON outbox EXECUTE FUNCTION full_disk()"))
    yield
    async with database.transaction() as connection:
        await connection.execute(text("DROP FUNCTION full_disk CASCADE"))
    await database.close()


async def test_work_waits_for_space_says_so_and_nothing_is_lost_or_doubled(deployment: Deployment) -> None:
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(DecisionRequested, emits=(OptionsDecided,))
    async def decide(event: DecisionRequested, ports: None) -> Sequence[Event]:
        return [OptionsDecided.example().model_copy(update={"decision_id": event.decision_id})]

    service = Service(deployment.settings("consensus"), deployment.database("consensus"), routers=[router])
    clock = SystemClock()
    facts = [stated(DecisionRequested.example().model_copy(update={"decision_id": clock.new_id()})) for _ in range(20)]
    async with deployment.reading("gateway", topics.DECISION) as decisions, running(service):
        async with full_disk(deployment):
            await deployment.send("gateway", *facts)
            async with asyncio.timeout(60):
                while True:
                    missing = (await service.readiness())["consumers"]
                    if missing is not None:
                        break
                    await asyncio.sleep(0.05)
        answered = []
        async with asyncio.timeout(60):
            while len(answered) < len(facts):
                answered.append(envelope.open((await decisions.getone()).value))
        async with asyncio.timeout(60):
            while True:
                if not any((await service.readiness()).values()):
                    break
                await asyncio.sleep(0.05)

    assert "PostgreSQL's disk is full" in missing
    assert "free some space" in missing
    assert {one.causation for one in answered} == {fact.id for fact in facts}
