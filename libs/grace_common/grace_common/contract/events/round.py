"""How a task proceeds: stated by the mtl-orchestrator on `grace.round.v1`."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Sha256, Share
from grace_common.contract.events.candidate import Authorship
from grace_common.contract.events.task import Specification, fibonacci

TaskState = Literal[
    "submitted",
    "approach-proposed",
    "generating",
    "evaluating",
    "deciding",
    "awaiting-approval",
    "completed",
    "learned",
    "failed",
    "cancelled",
]

_TASK = UUID("019ac000-0000-7000-8000-000000000001")
_ROUND = UUID("019ac000-0000-7000-8000-000000000002")


class _RoundEvent(Event):
    TOPIC: ClassVar = topics.ROUND

    task_id: UUID

    @property
    def partition_key(self) -> str:
        return str(self.task_id)


class ApproachRequested(_RoundEvent):
    """The task is accepted; code-gen is to propose how it would go about it.

    lessons  what memory holds on tasks like this one, most relevant first
    """

    TYPE: ClassVar = "grace.approach-requested.v1"

    specification: Specification
    lessons: tuple[str, ...] = ()

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, specification=fibonacci(), lessons=("fibonacci: iterate",))


class RoundOpened(_RoundEvent):
    """A round of generation begins.

    number    1 for the first; each change request or repair opens the next
    guidance  what people said so far, oldest first: guidance on the approach, then feedback of reviewers
    findings  what was wrong with the rounds before, oldest first: failing calls, why the consensus abstained
    """

    TYPE: ClassVar = "grace.round-opened.v1"

    round_id: UUID
    number: Annotated[int, Field(ge=1)]
    specification: Specification
    approach: str
    guidance: tuple[str, ...] = ()
    lessons: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    candidates: Annotated[int, Field(ge=1, le=40)] = 8
    minimum_confidence: Share = 0.5

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, round_id=_ROUND, number=1, specification=fibonacci(), approach="enumerate programs")


class ApprovalRequested(_RoundEvent):
    """The consensus chose; people must approve the digest before it is delivered.

    digest              what an approval names: SHA-256 over the three digests below (see `approval_digest`)
    required_approvals  how many different people must approve; the requester never counts
    policy              name and version of the policy that asked for it
    """

    TYPE: ClassVar = "grace.approval-requested.v1"

    round_id: UUID
    candidate_id: UUID
    digest: Sha256
    artifact_sha256: Sha256
    report_sha256: Sha256
    decision_sha256: Sha256
    required_approvals: Annotated[int, Field(ge=1)]
    confidence: Share
    policy: str
    reasons: tuple[str, ...] = ()

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            candidate_id=_ROUND,
            digest="ab" * 32,
            artifact_sha256="01" * 32,
            report_sha256="02" * 32,
            decision_sha256="03" * 32,
            required_approvals=1,
            confidence=0.9,
            policy="approval@1",
        )


class ApprovalRecorded(_RoundEvent):
    """An approval counted; `missing` more are needed. It is caused by the `ApprovalGiven` that counts.

    role, policy       in which role the reviewer judged, under which policy
    entry_point        of the artifact approved
    *_sha256           what `digest` stands for; with all of these the crypto-signer attests the review
    """

    TYPE: ClassVar = "grace.approval-recorded.v1"

    by: str
    digest: Sha256
    missing: Annotated[int, Field(ge=0)]
    role: str | None = None
    policy: str | None = None
    entry_point: str | None = None
    artifact_sha256: Sha256 | None = None
    report_sha256: Sha256 | None = None
    decision_sha256: Sha256 | None = None

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            by="grace",
            digest="ab" * 32,
            missing=0,
            role="reviewer",
            policy="approval@1",
            entry_point="fibonacci",
            artifact_sha256="01" * 32,
            report_sha256="02" * 32,
            decision_sha256="03" * 32,
        )


class RequestIgnored(_RoundEvent):
    """Something asked of a task had no effect, and why: a stale digest, the requester's own approval, a wrong state."""

    TYPE: ClassVar = "grace.request-ignored.v1"

    request_type: str
    by: str
    reason: str

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            request_type="grace.approval-given.v1",
            by="ada",
            reason="the requester's approval never counts",
        )


class ProbeOutcomes(Contract):
    """How the delivered candidate answered every probe whose right answer somebody stated, by the probes' names.

    specification_sha256  of the specification that was examined, as compact JSON with sorted keys
    passed, failed        of the requester's examples and tests, or passed of those that a generator wrote
    warned                tests that a generator wrote and the candidate did not pass: either may be wrong
    """

    specification_sha256: Sha256
    passed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class TaskCompleted(_RoundEvent):
    """The artifact is delivered.

    outcomes, authorship  with these the crypto-signer attests its tests and who wrote it
    """

    TYPE: ClassVar = "grace.task-completed.v1"

    round_id: UUID
    round_number: Annotated[int, Field(ge=1)]
    candidate_id: UUID
    entry_point: str
    code: str
    artifact_sha256: Sha256
    report_sha256: Sha256
    decision_sha256: Sha256
    generator: str
    confidence: Share
    quality_score: Share
    requester: str
    approved_by: tuple[str, ...]
    policy: str
    submitted_at: datetime | None = None
    outcomes: ProbeOutcomes | None = None
    authorship: Authorship | None = None

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            round_number=1,
            candidate_id=_ROUND,
            entry_point="fibonacci",
            code="def fibonacci(n: int) -> int:\n    return n\n",
            artifact_sha256="01" * 32,
            report_sha256="02" * 32,
            decision_sha256="03" * 32,
            generator="openai:qwen3",
            confidence=0.9,
            quality_score=0.95,
            requester="ada",
            approved_by=("grace",),
            policy="approval@1",
            outcomes=ProbeOutcomes(
                specification_sha256="06" * 32, passed=("e0: fibonacci(0) == 0",), warned=("a0: fibonacci(-1) == 1",)
            ),
            authorship=Authorship.example(),
        )


class TaskFailed(_RoundEvent):
    """The task ended without an artifact."""

    TYPE: ClassVar = "grace.task-failed.v1"

    reason: str
    state: TaskState

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, reason="no candidate passed the given examples", state="deciding")


class TaskCancelled(_RoundEvent):
    """The task was cancelled; whoever works on it stops."""

    TYPE: ClassVar = "grace.task-cancelled.v1"

    by: str
    reason: str = ""

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="ada", reason="Changed my mind")


class OutcomeLearned(_RoundEvent):
    """What memory keeps of an ended task."""

    TYPE: ClassVar = "grace.outcome-learned.v1"

    outcome: Literal["completed", "failed", "cancelled"]
    requirements: str
    lesson: str
    generator: str | None = None
    confidence: Share | None = None
    rounds: Annotated[int, Field(ge=0)]
    learned_at: datetime

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            outcome="completed",
            requirements="Create a function to calculate fibonacci",
            lesson="synthesis solved it in one round",
            generator="synthesis",
            confidence=0.9,
            rounds=1,
            learned_at=datetime.fromisoformat("2026-11-22T00:00:00+00:00"),
        )


class Policy(Contract):
    """One set of CEL expressions; decisions name it as `name@version`."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[int, Field(ge=1)]
    description: str = ""
    expressions: dict[str, str]


class PoliciesPublished(Event):
    """The policies that the orchestrator decides by from now on, stated when it starts."""

    TYPE: ClassVar = "grace.policies-published.v1"
    TOPIC: ClassVar = topics.ROUND

    policies: Annotated[tuple[Policy, ...], Field(max_length=100)]

    @property
    def partition_key(self) -> str:
        return "policies"

    @classmethod
    def example(cls) -> Self:
        expressions = {"required_approvals": "task.mode == 'autonomous' ? 0 : 1"}
        return cls(policies=(Policy(name="approval", version=1, expressions=expressions),))
