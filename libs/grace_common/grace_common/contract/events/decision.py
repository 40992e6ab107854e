"""What the consensus found: stated on `grace.decision.v1`."""

from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event, Share

_TASK = UUID("019ac000-0000-7000-8000-000000000001")
_ROUND = UUID("019ac000-0000-7000-8000-000000000002")

Verdict = Literal["chosen", "abstained"]


class Cluster(Contract):
    """Candidates (or voters) that say the same, and how much weight they carry (all clusters sum to at most 1)."""

    members: tuple[str, ...]
    weight: Share


class Dissent(Contract):
    """A cluster that lost, and where it differs from the winner, in words."""

    members: tuple[str, ...]
    weight: Share
    differs: str


class DecisionReached(Event):
    """The consensus on one round's candidates. Abstention is a decision too: it names what was missing."""

    TYPE: ClassVar = "grace.decision-reached.v1"
    TOPIC: ClassVar = topics.DECISION

    task_id: UUID
    round_id: UUID
    verdict: Verdict
    winner_id: UUID | None = None
    confidence: Share
    method: str
    clusters: tuple[Cluster, ...] = ()
    dissent: tuple[Dissent, ...] = ()
    reasons: tuple[str, ...] = ()
    candidates: Annotated[int, Field(ge=0)]

    @property
    def partition_key(self) -> str:
        return str(self.task_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            task_id=_TASK,
            round_id=_ROUND,
            verdict="chosen",
            winner_id=_ROUND,
            confidence=0.9,
            method="functional-agreement@1",
            clusters=(Cluster(members=(str(_ROUND),), weight=0.9),),
            candidates=1,
        )


class OptionsDecided(Event):
    """The answer to `DecisionRequested`."""

    TYPE: ClassVar = "grace.options-decided.v1"
    TOPIC: ClassVar = topics.DECISION

    decision_id: UUID
    verdict: Verdict
    option: str | None = None
    confidence: Share
    method: str
    weights: dict[str, Share]
    dissent: tuple[Dissent, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def partition_key(self) -> str:
        return str(self.decision_id)

    @classmethod
    def example(cls) -> Self:
        return cls(
            decision_id=_TASK,
            verdict="chosen",
            option="btree",
            confidence=0.8,
            method="dawid-skene@1",
            weights={"btree": 0.8, "hash": 0.2},
        )
