"""The read model: every fact of Grace that the API, the console or a stream may want to show."""

from collections.abc import Sequence

from grace_common.contract.envelope import Attributes, Envelope
from grace_common.contract.events import candidate, dead_letter, decision, identity, ledger, operation, round, task
from grace_common.runtime.router import EventRouter

from grace_gateway.ports import Ports

router: EventRouter[Ports] = EventRouter("gateway")


@router.batch(
    task.TaskSubmitted,
    task.GuidanceGiven,
    task.ApprovalGiven,
    task.ChangesRequested,
    task.ApprovalDenied,
    task.CancellationRequested,
    task.EvaluationRequested,
    task.DecisionRequested,
    task.ProducerEnrolled,
    task.KeyRevocationRequested,
    task.ReplayRequested,
    task.RedactionRequested,
    round.ApproachRequested,
    round.RoundOpened,
    round.ApprovalRequested,
    round.ApprovalRecorded,
    round.RequestIgnored,
    round.TaskCompleted,
    round.TaskFailed,
    round.TaskCancelled,
    round.OutcomeLearned,
    round.PoliciesPublished,
    candidate.ApproachProposed,
    candidate.CandidateGenerated,
    candidate.CandidateEvaluated,
    candidate.CandidatesGenerated,
    candidate.GenerationFailed,
    candidate.EvaluationCompleted,
    candidate.EvaluationFailed,
    decision.DecisionReached,
    decision.OptionsDecided,
)
async def show_facts(envelopes: Sequence[Envelope], ports: Ports) -> None:
    """Add facts to the timelines, and bring the submissions' states up to date."""
    await ports.writer.add_facts(envelopes)


@router.raw(
    operation.OperationStarted,
    operation.OperationSucceeded,
    operation.OperationFailed,
    operation.RequestRefused,
    operation.RecordRefused,
)
async def show_operations(records: Sequence[Attributes], ports: Ports) -> None:
    """Keep what each operation did."""
    await ports.writer.add_operations(records)


@router.raw(ledger.EntriesSealed, ledger.CheckpointPublished)
async def show_ledger(records: Sequence[Attributes], ports: Ports) -> None:
    """Keep where each entry stands, by all that it can be searched by."""
    await ports.writer.add_ledger(records)


@router.batch(identity.CertificateIssued)
async def show_certificates(envelopes: Sequence[Envelope], ports: Ports) -> None:
    """Keep who may seal records."""
    await ports.writer.add_certificates(envelopes)


@router.batch(dead_letter.RecordDeadLettered)
async def show_dead_letters(envelopes: Sequence[Envelope], ports: Ports) -> None:
    """Keep what had no effect, for reading and replay."""
    await ports.writer.add_dead_letters(envelopes)
