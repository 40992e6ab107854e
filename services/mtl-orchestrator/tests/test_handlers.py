"""What the orchestrator states when it hears something, with tasks and memory kept by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import GenerationFailed
from grace_common.contract.events.round import (
    ApproachRequested,
    ApprovalRequested,
    OutcomeLearned,
    RoundOpened,
    TaskCompleted,
)
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
)
from grace_common.contract.topics import MTL_ORCHESTRATOR, TOPICS
from grace_common.runtime.operation import Operation
from grace_common.runtime.router import Work
from grace_common.runtime.seal import Signer
from grace_common.testing.events import NOON, TASK, approach_proposed, enveloped, round_facts, task_submitted
from grace_mtl_orchestrator.adapters.policy_files import load, packaged
from grace_mtl_orchestrator.domain.task import Heard, Task
from grace_mtl_orchestrator.handlers import expire, router
from grace_mtl_orchestrator.ports import Ports


@dataclass
class TasksInHand:
    """Implements `ports.Tasks`."""

    tasks: dict[UUID, Task] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)

    async def load(self, task_id: UUID) -> Task | None:
        return self.tasks.get(task_id)

    async def save(self, task: Task, heard: Heard, facts: Sequence[Event]) -> None:
        self.tasks[task.task_id] = task
        self.heard.append(heard)


@dataclass
class OneLesson:
    """Implements `ports.Memory`: it knows one lesson, and keeps what it is told."""

    outcomes: list[OutcomeLearned] = field(default_factory=list)

    async def remember(self, outcome: OutcomeLearned) -> None:
        self.outcomes.append(outcome)

    async def lessons(self, requirements: str) -> tuple[str, ...]:
        return (f"on {requirements!r}: iterate",)


@pytest.fixture
def tasks() -> TasksInHand:
    return TasksInHand()


@pytest.fixture
def memory() -> OneLesson:
    return OneLesson()


@pytest.fixture
def ports(tasks: TasksInHand, memory: OneLesson) -> Ports:
    return Ports(tasks=tasks, memory=memory, policies=load(packaged()))


def work_on(event: Event) -> Work:
    envelope = enveloped(event)
    operation = Operation(
        id=envelope.operation,
        name="mtl-orchestrator.test",
        service=MTL_ORCHESTRATOR,
        actor="ada",
        subject=event.partition_key,
        correlation=event.partition_key,
        why=event.TYPE,
        started_at=NOON,
        cause=envelope.id,
    )
    return Work(envelope, operation, Signer("service/gateway", "3f2a", ()))


async def hear(ports: Ports, *events: Event) -> Sequence[Event]:
    """Hand the events to their handlers one after the other; return what the last one stated."""
    facts: Sequence[Event] = ()
    for event in events:
        facts = await router.routes[type(event)].call(event, ports, work_on(event))
    return facts


async def test_a_task_is_taken_on_with_the_lessons_of_tasks_like_it(ports: Ports) -> None:
    assert await hear(ports, task_submitted()) == (
        ApproachRequested(
            task_id=TASK,
            specification=task_submitted().specification,
            lessons=("on 'Create a function to calculate fibonacci': iterate",),
        ),
    )


async def test_a_task_goes_from_request_to_delivery_and_is_remembered(ports: Ports, memory: OneLesson) -> None:
    guidance = GuidanceGiven(task_id=TASK, by="ada", guidance="Do not recurse")
    (opened,) = await hear(ports, task_submitted(), approach_proposed(), guidance)
    assert isinstance(opened, RoundOpened)
    (asked,) = await hear(ports, *round_facts(opened.round_id))
    assert isinstance(asked, ApprovalRequested)

    facts = await hear(ports, ApprovalGiven(task_id=TASK, by="grace", roles=("reviewer",), digest=asked.digest))

    assert [type(fact).__name__ for fact in facts] == ["ApprovalRecorded", "TaskCompleted", "OutcomeLearned"]
    assert [outcome.outcome for outcome in memory.outcomes] == ["completed"]
    assert memory.outcomes[0].lesson.endswith("; guided by 'Do not recurse'")


async def test_every_request_and_every_end_has_its_handler(ports: Ports, memory: OneLesson) -> None:
    (opened,) = await hear(ports, task_submitted(), approach_proposed(), GuidanceGiven(task_id=TASK, by="ada"))
    assert isinstance(opened, RoundOpened)
    (asked,) = await hear(ports, *round_facts(opened.round_id))
    assert isinstance(asked, ApprovalRequested)
    by_grace = {"task_id": TASK, "by": "grace", "roles": ("reviewer",), "digest": asked.digest}

    (second,) = await hear(ports, ChangesRequested(**by_grace, feedback="Handle n < 0"))
    assert isinstance(second, RoundOpened)
    ignored = await hear(ports, ApprovalDenied(**by_grace, reason="No"))
    cancelled = await hear(ports, CancellationRequested(task_id=TASK, by="ada", roles=("requester",)))
    nothing = await hear(ports, GenerationFailed(task_id=TASK, round_id=second.round_id, reason="none"))

    assert [type(fact).__name__ for fact in (*ignored, *cancelled)] == [
        "RequestIgnored",
        "TaskCancelled",
        "OutcomeLearned",
    ]
    assert nothing == ()
    assert [outcome.outcome for outcome in memory.outcomes] == ["cancelled"]


async def test_what_is_heard_is_kept_with_the_time_it_was_stated(ports: Ports, tasks: TasksInHand) -> None:
    await hear(ports, task_submitted(), approach_proposed())

    assert [heard.at for heard in tasks.heard] == [NOON, NOON]
    assert tasks.tasks[TASK].version == 2


async def test_an_unknown_task_is_refused_and_nothing_is_kept(ports: Ports, tasks: TasksInHand) -> None:
    with pytest.raises(Refused, match="never submitted"):
        await hear(ports, GuidanceGiven(task_id=TASK, by="ada"))

    assert (tasks.tasks, tasks.heard) == ({}, [])


async def test_a_deadline_ends_the_task(ports: Ports) -> None:
    await hear(ports, task_submitted(deadline_s=60))

    facts = await expire(ports, TASK, NOON + timedelta(seconds=61))

    assert [type(fact).__name__ for fact in facts] == ["TaskFailed", "OutcomeLearned"]


def test_the_router_hears_and_states_what_the_topics_table_says() -> None:
    heard = {event.TOPIC.name for event in router.routes}
    stated = {event.TOPIC.name for route in router.routes.values() for event in route.emits}

    assert heard <= {topic.name for topic in TOPICS if MTL_ORCHESTRATOR in topic.readers}
    assert stated == {"grace.round.v1"}
    assert TaskCompleted in {event for route in router.routes.values() for event in route.emits}
