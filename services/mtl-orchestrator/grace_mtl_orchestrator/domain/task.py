"""The life of a task: `step(task, cause, at)` gives the task that follows and the facts to state.

    submitted → approach-proposed → [guidance] → generating → evaluating → deciding → [awaiting-approval] → learned
    at any time: cancelled, failed; from awaiting-approval: changes requested → a new round with the feedback

Nothing here reads a clock, a database or a policy file: the time comes with the cause, and the policies and lessons of
the day are part of the submission. So `replay` of the causes gives the same task and the same facts byte for byte.
Facts of other services may come before those they rest on; the task keeps them until their turn.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from grace_common.contract.approval import approval_digest, report_sha256
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Contract, Event, Sha256
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
    Policy,
    ProbeOutcomes,
    RequestIgnored,
    RoundOpened,
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskState,
)
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
    Specification,
    TaskSubmitted,
)

from grace_mtl_orchestrator.domain import lesson, policy, prose
from grace_mtl_orchestrator.domain.policy import PolicyBroken
from grace_mtl_orchestrator.domain.round import Round, RoundFact, Winner, open_round

Outcome = Literal["completed", "failed", "cancelled"]

# An envelope holds 48 KiB; a round is opened with the specification and all that was said about it.
MAX_SPECIFICATION_BYTES: Final = 30 * 1024
_MAX_GUIDANCE_BYTES: Final = 8 * 1024
_MAX_FINDINGS_BYTES: Final = 3 * 1024
_MAX_APPROACH_BYTES: Final = 2 * 1024
_MAX_LESSONS_BYTES: Final = 2 * 1024
_MAX_REASON_BYTES: Final = 2 * 1024


class Submission(Contract):
    """A request with what was in force and known when it came."""

    event: TaskSubmitted
    policies: tuple[Policy, ...]
    lessons: tuple[str, ...]


class DeadlinePassed(Contract):
    """The task's timer ran out."""


Request = GuidanceGiven | ApprovalGiven | ChangesRequested | ApprovalDenied | CancellationRequested
Verdict = ApprovalGiven | ChangesRequested | ApprovalDenied
Cause = Submission | Request | ApproachProposed | GenerationFailed | RoundFact | DeadlinePassed


class Task(Contract):
    """All that the next step depends on.

    version        causes handled so far
    specification  as refined by the approach: entry point and signature are filled in
    guidance       what people said, oldest first; `guided` once somebody answered the approach
    findings       what was wrong with the rounds before
    attempts       rounds since a person last spoke
    tried          the code digests of the round before, when that one was repaired
    asked          the open question to the reviewers, and who has approved it
    """

    task_id: UUID
    version: int
    phase: TaskState
    outcome: Outcome | None = None
    submitted: TaskSubmitted
    submitted_at: datetime
    policies: tuple[Policy, ...]
    lessons: tuple[str, ...]
    specification: Specification
    approach: ApproachProposed | None = None
    guidance: tuple[str, ...] = ()
    guided: bool = False
    findings: tuple[str, ...] = ()
    round: Round | None = None
    attempts: int = 0
    tried: tuple[Sha256, ...] | None = None
    asked: ApprovalRequested | None = None
    approved_by: tuple[str, ...] = ()

    @property
    def deadline(self) -> datetime | None:
        """When the task fails unless it has ended; None once it has."""
        return self.submitted_at + timedelta(seconds=self.submitted.deadline_s) if self.outcome is None else None

    def so(self, **changes: object) -> "Task":
        """Return the task with these fields changed."""
        return self.model_copy(update=changes)


Step = tuple[Task, tuple[Event, ...]]


@dataclass(frozen=True, slots=True)
class Heard:
    """One entry of a task's history."""

    cause: Cause
    at: datetime


def step(task: Task | None, cause: Cause, at: datetime) -> Step:
    """Return what becomes of the task, and the facts to state.

    task    None before its submission
    at      when the cause was stated, timezone-aware
    raises  Refused when the cause is no sound part of this task's life; nothing has changed then
    """
    if task is None:
        if not isinstance(cause, Submission):
            raise Refused(f"{_type(cause)} names a task that was never submitted")
        return _submit(cause, at)
    next_ = task.so(version=task.version + 1)
    try:
        return _proceed(next_, cause, at)
    except PolicyBroken as broken:
        return _fail(next_, str(broken), at)


def replay(history: Iterable[Heard]) -> tuple[Task | None, tuple[Event, ...]]:
    """Return the task that the history leads to, and every fact stated on the way."""
    task: Task | None = None
    facts: tuple[Event, ...] = ()
    for heard in history:
        task, stated = step(task, heard.cause, heard.at)
        facts += stated
    return task, facts


def _proceed(task: Task, cause: Cause, at: datetime) -> Step:
    match cause:
        case Submission():
            return _ignore(task, cause.event, cause.event.requester, "a task with this id exists already")
        case DeadlinePassed():
            return _deadline(task, at)
        case GuidanceGiven() | ApprovalGiven() | ChangesRequested() | ApprovalDenied() | CancellationRequested():
            return _answer(task, cause, at)
        case _:
            return _hear(task, cause, at) if task.outcome is None else (task, ())


def _submit(submission: Submission, at: datetime) -> Step:
    event = submission.event
    specification = event.specification
    task = Task(
        task_id=event.task_id,
        version=1,
        phase="submitted",
        submitted=event,
        submitted_at=at,
        policies=submission.policies,
        lessons=prose.newest(submission.lessons, _MAX_LESSONS_BYTES),
        specification=specification,
    )
    bytes_ = len(specification.model_dump_json().encode())
    if bytes_ > MAX_SPECIFICATION_BYTES:
        return _fail(
            task, f"the specification has {bytes_} bytes and the limit is {MAX_SPECIFICATION_BYTES}; split the task", at
        )
    try:
        allowed = policy.decide(policy.ALLOWED_LANGUAGES, task.policies, _at_start(task))
    except PolicyBroken as broken:
        return _fail(task, str(broken), at)
    if specification.language not in allowed.value:
        languages = ", ".join(allowed.value) or "none"
        return _fail(task, f"{allowed.policy} does not allow {specification.language}; it allows {languages}", at)
    return task, (ApproachRequested(task_id=task.task_id, specification=specification, lessons=task.lessons),)


def _hear(task: Task, fact: ApproachProposed | GenerationFailed | RoundFact, at: datetime) -> Step:
    """A running task hears another service."""
    match fact:
        case ApproachProposed() if task.phase == "submitted":
            specification = task.specification.model_copy(
                update={
                    "entry_point": task.specification.entry_point or fact.entry_point,
                    "signature": task.specification.signature or fact.signature,
                }
            )
            proposed = task.so(phase="approach-proposed", approach=fact, specification=specification)
            if task.submitted.mode == "autonomous" or task.guided:
                return _open_round(proposed)
            return proposed, ()
        case GenerationFailed():
            current = task.round.round_id if task.round else None
            concerns = fact.round_id == current and (task.round is not None or task.phase == "submitted")
            return _fail(task, fact.reason, at) if concerns else (task, ())
        case CandidateGenerated() | CandidateEvaluated() | CandidatesGenerated() | DecisionReached():
            if task.round is None or task.asked is not None or fact.round_id != task.round.round_id:
                return task, ()
            round_ = task.round.hear(fact)
            heard = task.so(round=round_, phase=round_.phase)
            return _settle(heard, round_, at) if round_.settled else (heard, ())
        case _:
            return task, ()


def _open_round(task: Task) -> Step:
    round_ = open_round(task.task_id, task.round.number + 1 if task.round else 1)
    bar = policy.decide(policy.MINIMUM_CONFIDENCE, task.policies, _at_start(task))
    opened = task.so(phase=round_.phase, round=round_, attempts=task.attempts + 1, asked=None, approved_by=())
    fact = RoundOpened(
        task_id=task.task_id,
        round_id=round_.round_id,
        number=round_.number,
        specification=task.specification,
        approach=prose.shorten(task.approach.approach if task.approach else "", _MAX_APPROACH_BYTES),
        guidance=prose.newest(task.guidance, _MAX_GUIDANCE_BYTES),
        lessons=task.lessons,
        findings=prose.newest(task.findings, _MAX_FINDINGS_BYTES),
        candidates=task.submitted.candidates,
        minimum_confidence=bar.value,
    )
    return opened, (fact,)


def _settle(task: Task, round_: Round, at: datetime) -> Step:
    """Everything about the round is known: deliver, ask the reviewers, repair or give up."""
    decision = round_.decision
    if decision is None or decision.verdict == "abstained":
        return _repair(task, round_, "the consensus abstained", at)
    winner = round_.winner()
    if winner is None:
        return _repair(task, round_, "the decision names a candidate that the round does not have", at)
    bar = policy.decide(policy.MINIMUM_CONFIDENCE, task.policies, _at_start(task))
    if decision.confidence < bar.value:
        return _repair(task, round_, f"{bar.policy} wants a confidence of {bar.value:.2f}", at)
    variables = _at_decision(task, round_, decision, winner)
    acceptable = policy.decide(policy.ACCEPTABLE, task.policies, variables)
    if not acceptable.value:
        return _repair(task, round_, f"{acceptable.policy} does not accept the chosen candidate", at)
    if task.submitted.mode == "autonomous":
        alone = policy.decide(policy.MAY_COMPLETE_WITHOUT_APPROVAL, task.policies, variables)
        if alone.value:
            return _complete(task, round_, decision, winner, alone.policy, at)
    required = policy.decide(policy.REQUIRED_APPROVALS, task.policies, variables)
    dissent = tuple(f"dissent of weight {each.weight:.2f}: {each.differs}" for each in decision.dissent)
    asked = ApprovalRequested(
        task_id=task.task_id,
        round_id=round_.round_id,
        candidate_id=winner.candidate_id,
        digest=approval_digest(
            artifact=winner.artifact_sha256, report=winner.report_sha256, decision=winner.decision_sha256
        ),
        artifact_sha256=winner.artifact_sha256,
        report_sha256=winner.report_sha256,
        decision_sha256=winner.decision_sha256,
        # Whoever reaches this point needs a second person, whatever the policy's number.
        required_approvals=max(1, required.value),
        confidence=decision.confidence,
        policy=required.policy,
        reasons=prose.newest((*decision.reasons, *dissent), _MAX_REASON_BYTES),
    )
    return task.so(phase="awaiting-approval", asked=asked), (asked,)


def _repair(task: Task, round_: Round, why: str, at: datetime) -> Step:
    """Open another round with what was wrong, unless the policy's rounds are used up or repairing changes nothing."""
    decision = round_.decision
    said = "; ".join(decision.reasons) if decision else ""
    confidence = f" (confidence {decision.confidence:.2f})" if decision else ""
    finding = prose.shorten(
        f"round {round_.number}: {why}{confidence}{': ' if said else ''}{said}", _MAX_REASON_BYTES // 2
    )
    dissent = tuple(each.differs for each in decision.dissent) if decision else ()
    findings = (*task.findings, finding, *round_.failures(), *dissent)
    repeated = task.tried == round_.codes
    allowed = policy.decide(policy.MAX_ROUNDS, task.policies, _at_start(task))
    if repeated or task.attempts >= allowed.value:
        end = "another round brought the same candidates" if repeated else f"{allowed.policy} allows no further round"
        evidence = "; ".join((*round_.failures(), *dissent))
        return _fail(task, f"{finding}{'; ' if evidence else ''}{evidence}; {end}", at)
    return _open_round(task.so(findings=findings, tried=round_.codes))


def _answer(task: Task, request: Request, at: datetime) -> Step:
    """A person asks something of the task."""
    if task.outcome is not None:
        return _ignore(task, request, request.by, f"the task is {task.outcome}")
    match request:
        case CancellationRequested():
            return _cancel(task, request, at)
        case GuidanceGiven():
            return _guide(task, request)
        case _:
            return _review(task, request, at)


def _guide(task: Task, request: GuidanceGiven) -> Step:
    if task.phase not in ("submitted", "approach-proposed"):
        return _ignore(task, request, request.by, f"guidance is taken before the first round; the task is {task.phase}")
    guidance = (*task.guidance, request.guidance) if request.guidance.strip() else task.guidance
    guided = task.so(guidance=guidance, guided=True)
    return _open_round(guided) if task.phase == "approach-proposed" else (guided, ())


def _review(task: Task, request: Verdict, at: datetime) -> Step:
    asked = task.asked
    if asked is None:
        return _ignore(task, request, request.by, f"no approval is asked for; the task is {task.phase}")
    if request.digest != asked.digest:
        return _ignore(task, request, request.by, f"the digest is stale; what is to be approved is {asked.digest}")
    if isinstance(request, ApprovalGiven) and request.by == task.submitted.requester:
        return _ignore(task, request, request.by, "the requester's own approval never counts")
    if "reviewer" not in request.roles and request.by != task.submitted.requester:
        return _ignore(task, request, request.by, "only a reviewer may review")
    match request:
        case ApprovalGiven():
            return _approve(task, asked, request, at)
        case ChangesRequested():
            feedback = task.so(guidance=(*task.guidance, request.feedback), attempts=0, tried=None)
            return _open_round(feedback)
        case ApprovalDenied():
            return _fail(task, f"{request.by} rejected the result: {request.reason}", at)


def _approve(task: Task, asked: ApprovalRequested, request: ApprovalGiven, at: datetime) -> Step:
    if request.by in task.approved_by:
        return _ignore(task, request, request.by, "this reviewer's approval is counted already")
    approved_by = (*task.approved_by, request.by)
    missing = asked.required_approvals - len(approved_by)
    recorded = ApprovalRecorded(
        task_id=task.task_id,
        by=request.by,
        digest=request.digest,
        missing=missing,
        role="reviewer",
        policy=asked.policy,
        entry_point=task.specification.entry_point,
        artifact_sha256=asked.artifact_sha256,
        report_sha256=asked.report_sha256,
        decision_sha256=asked.decision_sha256,
    )
    approved = task.so(approved_by=approved_by)
    round_ = task.round
    winner = round_.winner() if round_ else None
    if missing > 0 or round_ is None or round_.decision is None or winner is None:
        return approved, (recorded,)
    completed, facts = _complete(approved, round_, round_.decision, winner, asked.policy, at)
    return completed, (recorded, *facts)


def _complete(task: Task, round_: Round, decision: DecisionReached, winner: Winner, policy_: str, at: datetime) -> Step:
    completed = TaskCompleted(
        task_id=task.task_id,
        round_id=round_.round_id,
        round_number=round_.number,
        candidate_id=winner.candidate_id,
        entry_point=round_.matrix.entry_point if round_.matrix else "",
        code=winner.code,
        artifact_sha256=winner.artifact_sha256,
        report_sha256=winner.report_sha256,
        decision_sha256=winner.decision_sha256,
        generator=winner.generator,
        confidence=decision.confidence,
        quality_score=winner.quality_score,
        requester=task.submitted.requester,
        approved_by=task.approved_by,
        policy=policy_,
        submitted_at=task.submitted_at,
        outcomes=ProbeOutcomes(
            specification_sha256=report_sha256(task.specification.model_dump(mode="json")),
            passed=winner.passed,
            warned=winner.warned,
            failed=winner.failed,
        ),
        authorship=winner.authorship,
    )
    learned = _outcome(
        task, "completed", lesson.of_success(task.specification, round_.number, winner, decision, task.guidance), at
    ).model_copy(update={"generator": winner.generator, "confidence": decision.confidence})
    return task.so(phase="learned", outcome="completed"), (completed, learned)


def _fail(task: Task, reason: str, at: datetime) -> Step:
    said = prose.shorten(reason, _MAX_REASON_BYTES)
    failed = TaskFailed(task_id=task.task_id, reason=said, state=task.phase)
    learned = _outcome(task, "failed", lesson.of_failure(task.specification, task.phase, said), at)
    return task.so(phase="failed", outcome="failed"), (failed, learned)


def _cancel(task: Task, request: CancellationRequested, at: datetime) -> Step:
    if request.by != task.submitted.requester and "operator" not in request.roles:
        return _ignore(task, request, request.by, "only the requester or an operator may cancel")
    cancelled = TaskCancelled(task_id=task.task_id, by=request.by, reason=request.reason)
    learned = _outcome(task, "cancelled", lesson.of_cancellation(task.specification, task.phase, request.reason), at)
    return task.so(phase="cancelled", outcome="cancelled"), (cancelled, learned)


def _deadline(task: Task, at: datetime) -> Step:
    if task.deadline is None or at < task.deadline:
        return task, ()
    return _fail(task, f"the deadline of {task.submitted.deadline_s} s passed while the task was {task.phase}", at)


def _ignore(task: Task, request: Request | TaskSubmitted, by: str, reason: str) -> Step:
    return task, (RequestIgnored(task_id=task.task_id, request_type=request.TYPE, by=by, reason=reason),)


def _outcome(task: Task, outcome: Outcome, lesson_: str, at: datetime) -> OutcomeLearned:
    return OutcomeLearned(
        task_id=task.task_id,
        outcome=outcome,
        requirements=task.specification.requirements,
        lesson=lesson_,
        rounds=task.round.number if task.round else 0,
        learned_at=at,
    )


def _at_start(task: Task) -> policy.Variables:
    return {
        "task": {
            "mode": task.submitted.mode,
            "language": task.specification.language,
            "requester": task.submitted.requester,
            "via": task.submitted.via,
            "examples": len(task.specification.examples),
            "tests": task.specification.tests is not None,
            "candidates": task.submitted.candidates,
        }
    }


def _at_decision(task: Task, round_: Round, decision: DecisionReached, winner: Winner) -> policy.Variables:
    return {
        **_at_start(task),
        "round": {"number": round_.number, "attempts": task.attempts},
        "decision": {
            "confidence": decision.confidence,
            "candidates": decision.candidates,
            "dissent": len(decision.dissent),
            "method": decision.method,
        },
        "candidate": {
            "generator": winner.generator,
            "quality_score": winner.quality_score,
            "given_passed": winner.given_passed,
            "given_failed": winner.given_failed,
        },
    }


def _type(cause: Cause) -> str:
    return cause.TYPE if isinstance(cause, Event) else type(cause).__name__
