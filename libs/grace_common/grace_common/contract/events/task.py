"""What people and programs ask of Grace: stated by the gateway on `grace.task.v1`."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, JsonValue

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Identifier, PublicKey, Sha256, Share

Prose = Annotated[str, Field(min_length=1, max_length=8_000)]
Mode = Literal["collaborative", "autonomous"]

_TASK = UUID("019ac000-0000-7000-8000-000000000001")


class Example(Contract):
    """One call and what it must return, both as JSON values."""

    args: tuple[JsonValue, ...]
    expected: JsonValue


class Specification(Contract):
    """What is to be written.

    entry_point  name of the function; None: Grace derives it from the signature or the requirements
    signature    `def name(a: int) -> int:`; None: derived from the examples or a known concept
    tests        Python text with `check(candidate)` or bare asserts; run in the sandbox only
    """

    requirements: Prose
    language: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+#-]{0,30}$")] = "python"
    entry_point: Identifier | None = None
    signature: Annotated[str, Field(max_length=500)] | None = None
    examples: Annotated[tuple[Example, ...], Field(max_length=50)] = ()
    tests: Annotated[str, Field(max_length=16_000)] | None = None


def fibonacci() -> Specification:
    """The specification that examples and documents use."""
    return Specification(
        requirements="Create a function to calculate fibonacci",
        entry_point="fibonacci",
        signature="def fibonacci(n: int) -> int:",
        examples=(Example(args=(0,), expected=0), Example(args=(1,), expected=1), Example(args=(10,), expected=55)),
    )


class _TaskEvent(Event):
    TOPIC: ClassVar = topics.TASK

    task_id: UUID

    @property
    def partition_key(self) -> str:
        return str(self.task_id)


class TaskSubmitted(_TaskEvent):
    """Somebody asked for code.

    candidates   how many candidates a round shall try for
    deadline_s   seconds after submission at which an unfinished task fails
    via          the door it came through
    """

    TYPE: ClassVar = "grace.task-submitted.v1"

    requester: str
    specification: Specification
    mode: Mode = "collaborative"
    candidates: Annotated[int, Field(ge=1, le=40)] = 8
    deadline_s: Annotated[int, Field(ge=10, le=604_800)] = 86_400
    via: Literal["http", "kafka", "mcp"] = "http"

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, requester="ada", specification=fibonacci())


class GuidanceGiven(_TaskEvent):
    """Somebody answered the proposed approach; `accept` alone lets it go on unchanged."""

    TYPE: ClassVar = "grace.guidance-given.v1"

    by: str
    guidance: Annotated[str, Field(max_length=4_000)] = ""

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="ada", guidance="Iterate, do not recurse")


class ApprovalGiven(_TaskEvent):
    """A reviewer approved the exact digest of (artifact, evaluation report, decision)."""

    TYPE: ClassVar = "grace.approval-given.v1"

    by: str
    roles: tuple[str, ...]
    digest: Sha256
    comment: Annotated[str, Field(max_length=2_000)] = ""

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="grace", roles=("reviewer",), digest="ab" * 32)


class ChangesRequested(_TaskEvent):
    """A reviewer wants another round, with this feedback."""

    TYPE: ClassVar = "grace.changes-requested.v1"

    by: str
    roles: tuple[str, ...]
    digest: Sha256
    feedback: Annotated[str, Field(min_length=1, max_length=4_000)]

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="grace", roles=("reviewer",), digest="ab" * 32, feedback="Handle n = 0")


class ApprovalDenied(_TaskEvent):
    """A reviewer rejected the result for good."""

    TYPE: ClassVar = "grace.approval-denied.v1"

    by: str
    roles: tuple[str, ...]
    digest: Sha256
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="grace", roles=("reviewer",), digest="ab" * 32, reason="Not needed any more")


class CancellationRequested(_TaskEvent):
    """The requester or an operator no longer wants the task."""

    TYPE: ClassVar = "grace.cancellation-requested.v1"

    by: str
    roles: tuple[str, ...]
    reason: Annotated[str, Field(max_length=2_000)] = ""

    @classmethod
    def example(cls) -> Self:
        return cls(task_id=_TASK, by="ada", roles=("requester",), reason="Changed my mind")


class EvaluationRequested(Event):
    """Somebody wants one piece of code examined, without a task around it."""

    TYPE: ClassVar = "grace.evaluation-requested.v1"
    TOPIC: ClassVar = topics.TASK

    evaluation_id: UUID
    requester: str
    specification: Specification
    code: Annotated[str, Field(min_length=1, max_length=16_000)]

    @property
    def partition_key(self) -> str:
        return str(self.evaluation_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            evaluation_id=_TASK,
            requester="ada",
            specification=fibonacci(),
            code="def fibonacci(n: int) -> int:\n    return n\n",
        )


class Ballot(Contract):
    """One voter's choice among the options of one item.

    family      voters of one family (one model, one vendor) are correlated and do not count twice
    confidence  the voter's own, 0 to 1
    """

    voter: Annotated[str, Field(min_length=1, max_length=200)]
    choice: Annotated[str, Field(min_length=1, max_length=200)]
    family: Annotated[str, Field(max_length=200)] | None = None
    confidence: Share | None = None


class PastItem(Contract):
    """An earlier decision by the same voters; `outcome` is the option that proved right, where that is known."""

    ballots: tuple[Ballot, ...]
    outcome: str | None = None


class DecisionRequested(Event):
    """Somebody wants a decision among options from ballots that were cast."""

    TYPE: ClassVar = "grace.decision-requested.v1"
    TOPIC: ClassVar = topics.TASK

    decision_id: UUID
    requester: str
    question: Prose
    options: Annotated[tuple[str, ...], Field(min_length=2, max_length=50)]
    ballots: Annotated[tuple[Ballot, ...], Field(min_length=1, max_length=200)]
    history: Annotated[tuple[PastItem, ...], Field(max_length=200)] = ()
    minimum_confidence: Share = 0.5

    @property
    def partition_key(self) -> str:
        return str(self.decision_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            decision_id=_TASK,
            requester="ada",
            question="Which index type?",
            options=("btree", "hash"),
            ballots=(Ballot(voter="model-a", choice="btree"), Ballot(voter="model-b", choice="btree")),
        )


class ProducerEnrolled(Event):
    """An operator admitted an outside Kafka producer; the crypto-signer certifies its public key.

    public_key  raw Ed25519 public key, 32 bytes
    user        the person or program it acts for: role checks on its requests use this name
    """

    TYPE: ClassVar = "grace.producer-enrolled.v1"
    TOPIC: ClassVar = topics.TASK

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    public_key: PublicKey
    roles: tuple[str, ...]
    by: str
    valid_until: datetime

    @property
    def partition_key(self) -> str:
        return self.name

    @classmethod
    def example(cls) -> Self:
        return cls(
            name="build-farm",
            public_key=bytes(32),
            roles=("requester",),
            by="olga",
            valid_until=datetime.fromisoformat("2027-11-22T00:00:00+00:00"),
        )


class KeyRevocationRequested(Event):
    """An operator withdrew a workload or producer key: whatever it seals from now on is refused."""

    TYPE: ClassVar = "grace.key-revocation-requested.v1"
    TOPIC: ClassVar = topics.TASK

    key_id: Annotated[str, Field(min_length=1, max_length=100)]
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    by: str

    @property
    def partition_key(self) -> str:
        return self.key_id

    @classmethod
    def example(cls) -> Self:
        return cls(key_id="3f2a", reason="laptop lost", by="olga")


class ReplayRequested(Event):
    """An operator wants a dead-lettered record handled again: `consumer`, and no other service, re-reads the offset."""

    TYPE: ClassVar = "grace.replay-requested.v1"
    TOPIC: ClassVar = topics.TASK

    refusal_id: UUID
    consumer: Annotated[str, Field(min_length=1, max_length=100)]
    topic: Annotated[str, Field(min_length=1, max_length=200)]
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    by: str

    @property
    def partition_key(self) -> str:
        return str(self.refusal_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            refusal_id=_TASK, consumer="consensus", topic="grace.candidate.v1", partition=0, offset=17, by="olga"
        )


class RedactionRequested(Event):
    """An operator wants the content of one ledger entry removed; the entry itself, and the tree, stay as they are.

    index, entry_id  the entry's place and identity, both as the ledger has them
    """

    TYPE: ClassVar = "grace.redaction-requested.v1"
    TOPIC: ClassVar = topics.TASK

    index: Annotated[int, Field(ge=0)]
    entry_id: UUID
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    by: str

    @property
    def partition_key(self) -> str:
        return str(self.entry_id)

    @classmethod
    def example(cls) -> Self:
        return cls(index=17, entry_id=_TASK, reason="It names a customer", by="olga")
