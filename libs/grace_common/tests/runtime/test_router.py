"""What a router declares: which handler hears which event, in which group, stating what."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from grace_common.contract import topics
from grace_common.contract.events.base import Event
from grace_common.contract.events.decision import DecisionReached, OptionsDecided
from grace_common.contract.events.task import DecisionRequested, TaskSubmitted
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import EventRouter, Work, inbox_key
from grace_common.runtime.seal import Signer
from grace_common.testing.events import NOON, TASK, enveloped, task_submitted


def work() -> Work:
    operation = Operation(UUID(int=1), "a.b", "a", "ada", "s", "c", "why", NOON)
    return Work(enveloped(task_submitted()), operation, Signer("service/gateway", "k"))


async def test_a_handler_gets_the_work_when_it_asks_for_it() -> None:
    router: EventRouter[str] = EventRouter("consensus")
    seen: list[object] = []

    @router.on(TaskSubmitted)
    async def plain(event: TaskSubmitted, ports: str) -> None:
        seen.extend([event, ports])

    @router.on(DecisionRequested, emits=(OptionsDecided,))
    async def curious(event: DecisionRequested, ports: str, work: Work) -> Sequence[Event]:
        work.note(options=2)
        return [OptionsDecided.example()]

    submitted, handled = task_submitted(), work()
    assert await router.routes[TaskSubmitted].call(submitted, "ports", handled) == ()
    answers = await router.routes[DecisionRequested].call(DecisionRequested.example(), "ports", handled)

    assert seen == [submitted, "ports"]
    assert answers == [OptionsDecided.example()]
    assert handled.operation.attributes == {"options": "2"}


async def test_a_handler_may_state_only_what_it_declares() -> None:
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(TaskSubmitted, emits=(OptionsDecided,))
    async def decide(event: TaskSubmitted, ports: None) -> Sequence[Event]:
        return [DecisionReached.example()]

    with pytest.raises(TypeError, match="decide stated DecisionReached, which its `emits` does not declare"):
        await router.routes[TaskSubmitted].call(task_submitted(), None, work())


def test_an_event_has_one_handler_in_a_group() -> None:
    router: EventRouter[None] = EventRouter("consensus")

    @router.on(TaskSubmitted)
    async def first(event: TaskSubmitted, ports: None) -> None:
        """Hear it."""

    with pytest.raises(TypeError, match="consensus already handles TaskSubmitted"):
        router.on(TaskSubmitted)(first)


def test_a_router_subscribes_to_each_topic_once_and_names_its_group() -> None:
    router: EventRouter[None] = EventRouter("gateway", group="views")

    @router.batch(TaskSubmitted, DecisionReached, DecisionRequested)
    async def see(envelopes: Sequence[object], ports: None) -> None:
        """See them."""

    assert router.topics == (topics.TASK, topics.DECISION)
    assert router.group_id == "gateway.views"
    assert EventRouter[None]("gateway").group_id == "gateway"
    assert set(router.by_type) == {TaskSubmitted.TYPE, DecisionReached.TYPE, DecisionRequested.TYPE}
    route = router.routes[TaskSubmitted]
    assert (route.batch, inbox_key(route, enveloped(task_submitted(), id=TASK), "gateway")) == (
        True,
        ("gateway.see", TASK),
    )
