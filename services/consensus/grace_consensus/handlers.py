"""Evidence in, decision out: what the contract's events say in the domain's terms, and back.

Both handlers are pure functions of their event, so that a verdict can be replayed from the ledger.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from grace_common.contract.events.candidate import CandidatesGenerated, Row
from grace_common.contract.events.candidate import Probe as StatedProbe
from grace_common.contract.events.decision import Cluster, DecisionReached, Dissent, OptionsDecided
from grace_common.contract.events.task import DecisionRequested
from grace_common.contract.events.task import PastItem as StatedItem
from grace_common.runtime.router import EventRouter

from grace_consensus.domain import agreement
from grace_consensus.domain.agreement import Decision, decide_candidates
from grace_consensus.domain.ballot import Ballot, BallotPolicy, PastDecision, decide_options
from grace_consensus.domain.execution_matrix import RAISED, Candidate, ExecutionMatrix, Probe, ProbeKind

router: EventRouter[None] = EventRouter("consensus")

_PASSES: Final = 0  # the output class of a test that passes, see `contract.events.candidate.Probe`
_SYNTHESIS: Final = "synthesis"  # the generator that builds programs from the examples; its cost counts bits
_LEAST_PRIOR_BITS: Final = 60  # beyond it a prior is as good as none, and must not underflow to zero
_SHOWN_REJECTIONS: Final = 3
_LONGEST_REASON: Final = 1_000  # a tie names all its options: the answer must fit an envelope as the request did


@router.on(CandidatesGenerated, emits=(DecisionReached,))
async def decide(event: CandidatesGenerated, ports: None) -> list[DecisionReached]:
    """Let the evidence judge a round's candidates."""
    if not event.rows:
        return [_nothing_to_decide(event)]
    decision = decide_candidates(_matrix(event), agreement.Policy(minimum_confidence=event.minimum_confidence))
    return [
        DecisionReached(
            task_id=event.task_id,
            round_id=event.round_id,
            verdict=decision.verdict,
            winner_id=UUID(decision.winner) if decision.winner else None,
            confidence=decision.confidence,
            method=decision.method,
            clusters=tuple(Cluster(members=each.members, weight=min(1.0, each.weight)) for each in decision.clusters),
            dissent=_dissent(event, decision),
            reasons=(*decision.reasons, *_rejections(event, decision)),
            candidates=len(event.rows),
        )
    ]


@router.on(DecisionRequested, emits=(OptionsDecided,))
async def count(event: DecisionRequested, ports: None) -> list[OptionsDecided]:
    """Weigh the ballots that were cast; Refused when they do not fit the options."""
    decision = decide_options(
        event.options,
        [_ballot(each.voter, each.choice, each.confidence, each.family) for each in event.ballots],
        [_past(item) for item in event.history],
        BallotPolicy(minimum_confidence=event.minimum_confidence),
    )
    weights = {each.option: min(1.0, each.weight) for each in decision.options}
    lost = [each for each in decision.options if each.voters and each.option != decision.leading]
    return [
        OptionsDecided(
            decision_id=event.decision_id,
            verdict=decision.verdict,
            option=decision.winner,
            confidence=min(1.0, decision.confidence),
            method=decision.method,
            weights=weights,
            dissent=tuple(
                Dissent(members=each.voters, weight=weights[each.option], differs=f"chose {each.option}")
                for each in lost
            ),
            reasons=tuple(reason[:_LONGEST_REASON] for reason in decision.reasons),
        )
    ]


def _nothing_to_decide(event: CandidatesGenerated) -> DecisionReached:
    return DecisionReached(
        task_id=event.task_id,
        round_id=event.round_id,
        verdict="abstained",
        confidence=0.0,
        method=agreement.METHOD,
        reasons=("the round brought no candidate", *event.notes),
        candidates=0,
    )


def _matrix(event: CandidatesGenerated) -> ExecutionMatrix:
    ranks = _ranks(event.rows)
    cheapest = min((row.cost for row in event.rows if row.generator == _SYNTHESIS), default=0.0)
    return ExecutionMatrix(
        candidates=tuple(_candidate(row, cheapest, ranks[row.candidate_id]) for row in event.rows),
        probes=tuple(_probe(probe) for probe in event.probes),
        outcomes=tuple(row.outputs for row in event.rows),
    )


def _ranks(rows: Sequence[Row]) -> dict[UUID, int]:
    """Return each candidate's place in its generator's own order: every generator counts costs in a unit of its own."""
    costs: dict[str, list[float]] = {}
    for row in rows:
        costs.setdefault(row.generator, []).append(row.cost)
    return {row.candidate_id: sum(cost < row.cost for cost in costs[row.generator]) for row in rows}


def _candidate(row: Row, cheapest: float, rank: int) -> Candidate:
    fitted = row.generator == _SYNTHESIS
    return Candidate(
        id=str(row.candidate_id),
        generator=row.generator,
        digest=row.code_sha256,
        prior=2.0 ** -min(row.cost - cheapest, _LEAST_PRIOR_BITS) if fitted else 1.0,
        quality=row.quality_score,
        size=rank,
        fitted=fitted,
    )


def _probe(probe: StatedProbe) -> Probe:
    """A test whose right answer nobody states binds nobody: it shows where candidates differ, no more."""
    kind = ProbeKind(probe.kind)
    match kind:
        case ProbeKind.GENERATED:
            return Probe(probe.id, kind)
        case ProbeKind.GENERATED_TEST:
            return Probe(probe.id, kind, _PASSES if probe.expected is None else probe.expected)
        case _:
            return Probe(probe.id, kind if probe.expected is not None else ProbeKind.GENERATED, probe.expected)


def _dissent(event: CandidatesGenerated, decision: Decision) -> tuple[Dissent, ...]:
    labels = {probe.id: probe.label for probe in event.probes}
    return tuple(
        Dissent(
            members=each.members,
            weight=min(1.0, each.weight),
            differs=(
                f"{labels[each.probe]}: {_difference(each.dissenting_outcome, each.leading_outcome)}"
                if each.probe in labels
                else each.sentence
            ),
        )
        for each in decision.dissent
    )


def _difference(dissenting: int, leading: int) -> str:
    """Say how two outcomes differ. They are numbered classes of equal results: the numbers would mislead a reader."""
    if dissenting == RAISED:
        return "raises an error, where the leading candidate gives a result"
    if leading == RAISED:
        return "gives a result, where the leading candidate raises an error"
    return "gives another result than the leading candidate"


def _rejections(event: CandidatesGenerated, decision: Decision) -> Sequence[str]:
    labels = {probe.id: probe.label for probe in event.probes}
    shown = [f"candidate {each.candidate} fails {labels[each.probe]}" for each in decision.rejected[:_SHOWN_REJECTIONS]]
    more = len(decision.rejected) - len(shown)
    return [*shown, f"{more} more candidates fail what the requester gave"] if more > 0 else shown


def _ballot(voter: str, choice: str, confidence: float | None, family: str | None) -> Ballot:
    return Ballot(voter=voter, option=choice, confidence=confidence, family=family or "")


def _past(item: StatedItem) -> PastDecision:
    ballots = tuple(_ballot(each.voter, each.choice, each.confidence, each.family) for each in item.ballots)
    return PastDecision(ballots, item.outcome)
