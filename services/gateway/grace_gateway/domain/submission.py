"""A task, evaluation or decision as it was submitted."""

from dataclasses import dataclass
from uuid import UUID

from grace_common.contract.envelope import Envelope
from grace_common.contract.events.base import Event
from grace_common.contract.events.task import DecisionRequested, EvaluationRequested, TaskSubmitted

from grace_gateway.domain.fact import Fact
from grace_gateway.domain.progress import Kind


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody submitted.

    title        what lists show of it
    fact         the fact that submitted it; its id is the submission's id
    body_digest  SHA-256 of the canonical body, by which a repeated Idempotency-Key is judged; None from Kafka
    """

    kind: Kind
    requester: str
    title: str
    fact: Fact
    body_digest: bytes | None = None

    @property
    def id(self) -> UUID:
        return self.fact.id

    def repeats(self, before: "Submission | None") -> bool:
        """Return whether this says the same as the one that had its id before."""
        return before is not None and (self.requester, self.body_digest) == (before.requester, before.body_digest)


def fact_of(envelope: Envelope) -> Fact:
    """Return an event as the read model keeps it."""
    return Fact(
        id=envelope.id,
        type=envelope.event.TYPE,
        time=envelope.time,
        service=service_of(envelope),
        actor=envelope.actor,
        operation=envelope.operation,
        data=envelope.event.model_dump(mode="json"),
    )


def service_of(envelope: Envelope) -> str:
    """Return `gateway` for the source `/grace/gateway`."""
    return envelope.source.rpartition("/")[2]


def submission_of(envelope: Envelope, body_digest: bytes | None = None) -> Submission | None:
    """Return the submission that an event makes, None for an event that makes none."""
    match envelope.event:
        case TaskSubmitted(requester=requester, specification=specification):
            return Submission("task", requester, specification.requirements, fact_of(envelope), body_digest)
        case EvaluationRequested(requester=requester, specification=specification):
            return Submission("evaluation", requester, specification.requirements, fact_of(envelope), body_digest)
        case DecisionRequested(requester=requester, question=question):
            return Submission("decision", requester, question, fact_of(envelope), body_digest)
    return None


def subject_of(event: Event) -> UUID | None:
    """Return the id of the submission that an event is about, None when it is about none."""
    fields = vars(event)
    for name in ("task_id", "evaluation_id", "decision_id"):
        id_: UUID | None = fields.get(name)
        if id_ is not None:
            return id_
    return None
