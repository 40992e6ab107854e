"""What happens to a task when something is heard: load it, take the step, keep it, state the facts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import (
    ApproachProposed,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    GenerationFailed,
)
from grace_common.contract.events.decision import DecisionReached
from grace_common.contract.events.round import (
    ApproachRequested,
    ApprovalRecorded,
    ApprovalRequested,
    OutcomeLearned,
    RequestIgnored,
    RoundOpened,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
)
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
    TaskSubmitted,
)
from grace_common.runtime.router import EventRouter, Work

from grace_mtl_orchestrator.domain.task import Cause, DeadlinePassed, Heard, Submission, step
from grace_mtl_orchestrator.ports import Ports

router: EventRouter[Ports] = EventRouter("mtl-orchestrator")

# A policy that cannot answer fails the task wherever it is asked; so does a specification too large to pass on.
_FAILED = (TaskFailed, OutcomeLearned)
_OPENED = (RoundOpened, *_FAILED)
_SETTLED = (ApprovalRequested, TaskCompleted, *_OPENED)


@router.on(TaskSubmitted, emits=(ApproachRequested, RequestIgnored, *_FAILED))
async def take_on(event: TaskSubmitted, ports: Ports, work: Work) -> Sequence[Event]:
    """A task begins under the policies in force, with what memory holds on tasks like it."""
    lessons = await ports.memory.lessons(event.specification.requirements)
    return await _proceed(event.task_id, Submission(event=event, policies=ports.policies, lessons=lessons), ports, work)


@router.on(ApproachProposed, emits=_OPENED)
async def take_approach(event: ApproachProposed, ports: Ports, work: Work) -> Sequence[Event]:
    """An autonomous task goes on at once; a collaborative one waits for guidance."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(GuidanceGiven, emits=(RequestIgnored, *_OPENED))
async def take_guidance(event: GuidanceGiven, ports: Ports, work: Work) -> Sequence[Event]:
    """Guidance refines the task and opens its first round."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(CandidateGenerated, emits=_SETTLED)
async def note_candidate(event: CandidateGenerated, ports: Ports, work: Work) -> Sequence[Event]:
    """A round learns a candidate's code."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(CandidateEvaluated, emits=_SETTLED)
async def note_evaluation(event: CandidateEvaluated, ports: Ports, work: Work) -> Sequence[Event]:
    """A round learns how a candidate fared."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(CandidatesGenerated, emits=_SETTLED)
async def close_round(event: CandidatesGenerated, ports: Ports, work: Work) -> Sequence[Event]:
    """A round's candidates are complete; the decision may have come before."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(GenerationFailed, emits=_FAILED)
async def give_up(event: GenerationFailed, ports: Ports, work: Work) -> Sequence[Event]:
    """Nothing could be generated: the task ends with what would help."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(DecisionReached, emits=_SETTLED)
async def weigh_decision(event: DecisionReached, ports: Ports, work: Work) -> Sequence[Event]:
    """The consensus spoke: deliver, ask the reviewers, repair or give up, as policy says."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(ApprovalGiven, emits=(ApprovalRecorded, TaskCompleted, RequestIgnored, OutcomeLearned))
async def count_approval(event: ApprovalGiven, ports: Ports, work: Work) -> Sequence[Event]:
    """A reviewer approved exactly what is asked, or the approval is ignored and says why."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(ChangesRequested, emits=(RequestIgnored, *_OPENED))
async def take_feedback(event: ChangesRequested, ports: Ports, work: Work) -> Sequence[Event]:
    """A reviewer wants another round with this feedback."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(ApprovalDenied, emits=(RequestIgnored, *_FAILED))
async def take_rejection(event: ApprovalDenied, ports: Ports, work: Work) -> Sequence[Event]:
    """A reviewer rejected the result for good."""
    return await _proceed(event.task_id, event, ports, work)


@router.on(CancellationRequested, emits=(TaskCancelled, RequestIgnored, OutcomeLearned))
async def cancel(event: CancellationRequested, ports: Ports, work: Work) -> Sequence[Event]:
    """The requester or an operator no longer wants the task."""
    return await _proceed(event.task_id, event, ports, work)


async def expire(ports: Ports, task_id: UUID, at: datetime) -> Sequence[Event]:
    """A task's deadline has come; what the timers call."""
    return await hear(task_id, DeadlinePassed(), ports, at)


async def hear(task_id: UUID, cause: Cause, ports: Ports, at: datetime) -> Sequence[Event]:
    """Take one step of one task and return the facts to state."""
    before = await ports.tasks.load(task_id)
    task, facts = step(before, cause, at)
    await ports.tasks.save(task, Heard(cause, at), facts)
    for fact in facts:
        if isinstance(fact, OutcomeLearned):
            await ports.memory.remember(fact)
    return facts


async def _proceed(task_id: UUID, cause: Cause, ports: Ports, work: Work) -> Sequence[Event]:
    facts = await hear(task_id, cause, ports, work.envelope.time)
    work.note(stated=", ".join(type(fact).__name__ for fact in facts) or "nothing")
    return facts
