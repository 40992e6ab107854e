"""What ends a round before its time: its task, the service, the database."""

import asyncio
from uuid import UUID

import pytest
from grace_code_gen.domain.running import Running
from grace_code_gen.handlers import endings, router, run_round, stop
from grace_common.contract.events.base import Event
from grace_common.contract.events.round import TaskCancelled, TaskFailed
from grace_common.testing.events import TASK, enveloped

from .fakes import RIGHT, Listening, Stuck, Writes, listening, opened, ports


@pytest.mark.parametrize("ended", [TaskCancelled(task_id=TASK, by="ada"), TaskFailed.example()])
async def test_a_round_stops_when_its_task_is_over(ended: Event) -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    running = asyncio.create_task(run_round(event, given, listening(event)))
    await stuck.begun.wait()

    await stop([enveloped(ended.model_copy(update={"task_id": UUID(int=7)})), enveloped(event)], given)
    assert not running.done()
    await stop([enveloped(ended)], given)

    assert await running == []
    assert stuck.closed == 1


async def test_a_round_of_a_task_that_is_over_is_not_begun() -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    await stop([enveloped(TaskCancelled(task_id=TASK, by="ada"))], given)

    assert await run_round(event, given, listening(event)) == []
    assert stuck.briefs == []


async def test_a_stopping_service_hands_the_round_back() -> None:
    stuck, event = Stuck("synthesis"), opened()
    given = ports(stuck)
    running = asyncio.create_task(run_round(event, given, listening(event)))
    await stuck.begun.wait()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert stuck.closed == 1
    assert not given.running.ended(TASK)


async def test_a_lost_database_stops_the_round_and_shows_as_what_it_is() -> None:
    class Lost(Listening):
        async def state(self, *events: Event) -> None:
            raise ConnectionRefusedError("5432")

    stuck, event = Stuck("openai:qwen", prose=True), opened()
    work = listening(event)

    with pytest.raises(ConnectionRefusedError):  # and not a group of it: the delivery would take that for a bug
        await run_round(
            event, ports(stuck, Writes("synthesis", [RIGHT])), Lost(work.envelope, work.operation, work.signer)
        )
    assert stuck.closed == 1


def test_only_so_many_endings_are_remembered() -> None:
    running: Running[int] = Running()
    for key in range(10_001):
        running.end(key)

    assert not running.ended(0)
    assert running.ended(10_000)


def test_rounds_and_endings_are_heard_in_groups_of_their_own() -> None:
    heard = endings("b")

    assert (router.group_id, heard.group_id) == ("code-gen", "code-gen.endings-b")
    assert set(heard.routes) == {TaskCancelled, TaskFailed}
    assert {event.__name__ for event in router.routes} == {"ApproachRequested", "RoundOpened", "EvaluationRequested"}
    stated = {event.TOPIC.noun for route in router.routes.values() for event in route.emits}
    assert stated == {"candidate"}
