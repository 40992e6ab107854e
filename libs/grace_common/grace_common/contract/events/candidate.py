"""What was generated and how it fared: stated by code-gen on `grace.candidate.v1`."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, JsonValue

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Identifier, Sha256, Share

_TASK = UUID("019ac000-0000-7000-8000-000000000001")
_ROUND = UUID("019ac000-0000-7000-8000-000000000002")
_CANDIDATE = UUID("019ac000-0000-7000-8000-000000000003")

ProbeKind = Literal["example", "test", "generated", "generated-test"]


class Probe(Contract):
    """One thing every candidate of a round was asked. `label` says it in words: a call, or a test's name.

    Of every kind but `generated`, output class 0 means that the candidate passes.
    """

    id: str
    kind: ProbeKind
    label: Annotated[str, Field(max_length=200)]
    expected: int | None = None  # output class that is right; None where nobody knows


class Row(Contract):
    """How one candidate answered every probe, in the probes' order.

    outputs  classes of outputs: equal numbers are equal outputs; -1 is an error, -2 a limit exceeded
    cost     the generator's own ranking, lower is simpler
    """

    candidate_id: UUID
    generator: str
    code_sha256: Sha256
    quality_score: Share
    report_sha256: Sha256
    cost: float
    outputs: tuple[int, ...]


class Prompt(Contract):
    """One message that a model was given, by SHA-256 of its UTF-8 bytes: never the message itself."""

    role: Literal["system", "user"]
    sha256: Sha256


class Strategy(Contract):
    """A way of generating candidates; it keeps its version for as long as it asks and tells the same."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[int, Field(ge=1)]


class Authorship(Contract):
    """How a candidate's code came to be written.

    model     the language model, None where the generator names none
    prompts   what the model was told, in order
    """

    strategy: Strategy
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    prompts: Annotated[tuple[Prompt, ...], Field(max_length=16)] = ()

    @classmethod
    def example(cls) -> Self:
        prompts = (Prompt(role="system", sha256="04" * 32), Prompt(role="user", sha256="05" * 32))
        return cls(strategy=Strategy(name="side-by-side", version=1), model="qwen3", prompts=prompts)


class _CandidateEvent(Event):
    TOPIC: ClassVar = topics.CANDIDATE

    task_id: UUID

    @property
    def partition_key(self) -> str:
        return str(self.task_id)


class ApproachProposed(_CandidateEvent):
    """How code-gen would go about the task; in collaborative mode it waits for guidance."""

    TYPE: ClassVar = "grace.approach-proposed.v1"

    approach: str
    entry_point: Identifier
    signature: Annotated[str, Field(max_length=500)]
    generators: tuple[str, ...]
    questions: tuple[str, ...] = ()

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            approach="Enumerate programs that satisfy the 3 examples, simplest first",
            entry_point="fibonacci",
            signature="def fibonacci(n: int) -> int:",
            generators=("synthesis",),
        )


class CandidateGenerated(_CandidateEvent):
    """Progress: one candidate exists. Its id derives from the round and its code, so a repeated round repeats it."""

    TYPE: ClassVar = "grace.candidate-generated.v1"

    round_id: UUID
    candidate_id: UUID
    ordinal: Annotated[int, Field(ge=0)]
    generator: str
    code: Annotated[str, Field(max_length=16_000)]
    code_sha256: Sha256
    authorship: Authorship | None = None

    @property
    def distinguisher(self) -> str:
        return str(self.candidate_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            candidate_id=_CANDIDATE,
            ordinal=0,
            generator="openai:qwen3",
            code="def fibonacci(n: int) -> int:\n    return n\n",
            code_sha256="01" * 32,
            authorship=Authorship.example(),
        )


class CandidateEvaluated(_CandidateEvent):
    """One candidate went through the sandbox; `report_sha256` is over the report as sorted compact JSON.

    A candidate that is examined again has another report; the matrix's row names the one that counts.
    """

    TYPE: ClassVar = "grace.candidate-evaluated.v1"

    round_id: UUID
    candidate_id: UUID
    generator: str
    code_sha256: Sha256
    report_sha256: Sha256
    quality_score: Share
    passed: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    report: dict[str, JsonValue]

    @property
    def distinguisher(self) -> str:
        return f"{self.candidate_id}/{self.report_sha256}"

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            candidate_id=_CANDIDATE,
            generator="synthesis",
            code_sha256="01" * 32,
            report_sha256="02" * 32,
            quality_score=0.9,
            passed=3,
            failed=0,
            report={"checks": []},
        )


class CandidatesGenerated(_CandidateEvent):
    """The round's candidates are complete: the execution matrix, candidate × probe, for the consensus."""

    TYPE: ClassVar = "grace.candidates-generated.v1"

    round_id: UUID
    entry_point: str
    probes: tuple[Probe, ...]
    rows: tuple[Row, ...]
    minimum_confidence: Share = 0.5
    notes: tuple[str, ...] = ()  # generators that failed or were left out, and why
    generation_s: float = 0.0
    evaluation_s: float = 0.0

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            entry_point="fibonacci",
            probes=(Probe(id="e0", kind="example", label="fibonacci(0) == 0", expected=0),),
            rows=(
                Row(
                    candidate_id=_CANDIDATE,
                    generator="synthesis",
                    code_sha256="01" * 32,
                    quality_score=0.9,
                    report_sha256="02" * 32,
                    cost=3.5,
                    outputs=(0,),
                ),
            ),
        )


class GenerationFailed(_CandidateEvent):
    """No candidate could be made for this task, and what would help."""

    TYPE: ClassVar = "grace.generation-failed.v1"

    round_id: UUID | None = None
    reason: str

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK, round_id=_ROUND, reason="no program within the budget satisfies the examples; add more"
        )


class EvaluationCompleted(Event):
    """The answer to `EvaluationRequested`."""

    TYPE: ClassVar = "grace.evaluation-completed.v1"
    TOPIC: ClassVar = topics.CANDIDATE

    evaluation_id: UUID
    quality_score: Share
    passed: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    report_sha256: Sha256
    report: dict[str, JsonValue]

    @property
    def partition_key(self) -> str:
        return str(self.evaluation_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            evaluation_id=_TASK, quality_score=0.9, passed=3, failed=0, report_sha256="02" * 32, report={"checks": []}
        )


class EvaluationFailed(Event):
    """What `EvaluationRequested` asks for cannot be done, and what would help: the other answer to it."""

    TYPE: ClassVar = "grace.evaluation-failed.v1"
    TOPIC: ClassVar = topics.CANDIDATE

    evaluation_id: UUID
    reason: str

    @property
    def partition_key(self) -> str:
        return str(self.evaluation_id)

    @classmethod
    def example(cls) -> Self:
        return cls(evaluation_id=_TASK, reason="the tests have 61 asserts; at most 60 are run")
