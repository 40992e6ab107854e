"""Choosing among code candidates by how they behave: clusters of equal behaviour, weighed by independent evidence.

A candidate that fails a binding probe (the requester's example or test) cannot win. The others fall into clusters that
return the same on every valid probe. A cluster's support is the number of independent candidates behind it: equal texts
count once, candidates of one generator are damped, kindred clusters vouch in part. Generated tests and clusters are
evidence for each other: a test is as reliable as the clusters that pass it are heavy, a cluster as heavy as its
support times the reliable tests it passes (B. Chen et al., CodeT: Code Generation with Generated Tests, 2022). Against
all clusters stands "none of them is right". A calibration fitted on real outcomes makes the posterior a confidence.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from math import fsum, sqrt
from typing import Any, Literal

from grace_common.contract.errors import Refused

from grace_consensus.domain.confidence import DEFAULT, Calibration, effective_count
from grace_consensus.domain.execution_matrix import BINDING, RAISED, Candidate, ExecutionMatrix, Probe, ProbeKind

METHOD = "functional-agreement.v1"
MUTUAL_ROUNDS = 4  # tests weigh clusters and clusters weigh tests; fixed, so that replays agree
KINSHIP_POWER = 3  # how fast clusters stop vouching for each other as they differ; 2 to 8 choose alike on recorded runs
USUAL_RELIABILITY = 1 / 3  # about one model-written test in three is right on the recorded runs
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Policy:
    """What must hold for a winner to be named.

    minimum_confidence  below it the consensus abstains; 0.5 means "more likely right than wrong" on past outcomes
    minimum_support     independent candidates that the winning cluster must have, ≥ 0
    """

    minimum_confidence: float = 0.5
    minimum_support: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_confidence <= 1 or self.minimum_support < 0:
            raise Refused(f"the policy {self} lies outside its ranges")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Candidates that behave alike; members best first, the first one stands for the cluster."""

    members: tuple[str, ...]
    support: float  # independent candidates
    weight: float  # posterior probability that this behaviour is the right one
    tests_passed: int  # generated tests on valid inputs


@dataclass(frozen=True, slots=True)
class Dissent:
    """A cluster that behaves otherwise than the leading one, and the first probe that shows it."""

    members: tuple[str, ...]
    weight: float
    probe: str
    leading_outcome: int
    dissenting_outcome: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that failed a binding probe."""

    candidate: str
    probe: str
    expected: int
    outcome: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with all that led to it; `as_dict()` is plain JSON."""

    verdict: Literal["chosen", "abstained"]
    winner: str | None  # None when abstained
    leading: str | None  # who would have won; the winner when chosen
    confidence: float  # calibrated probability that `leading` is right, 0 to 1
    method: str
    clusters: tuple[Cluster, ...]  # heaviest first; their weights and unseen_weight sum to one
    unseen_weight: float  # posterior probability that no candidate is right, before calibration
    dissent: tuple[Dissent, ...]
    rejected: tuple[Rejection, ...]
    ignored_probes: tuple[str, ...]  # generated inputs on which most candidates raise: no valid input
    test_reliability: dict[str, float]  # per generated test on a valid input: learned probability that it is right
    reasons: tuple[str, ...]  # why it abstained

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Behaviour:
    candidates: tuple[Candidate, ...]  # best first
    outcomes: tuple[int, ...]  # on the valid probes
    support: float
    belief: float  # of the generators in the text of the first candidate


def decide_candidates(
    matrix: ExecutionMatrix, policy: Policy | None = None, calibration: Calibration = DEFAULT
) -> Decision:
    """Return the candidate whose behaviour the evidence favours, or abstain; a pure function of its arguments.

    matrix       at least one candidate; the order of candidates and probes does not matter to the verdict
    policy       Policy() when absent
    calibration  fitted parameters; the package's own by default
    raises       Refused when the matrix has no candidate
    """
    policy = policy or Policy()
    if not matrix.candidates:
        raise Refused("the matrix has no candidate to decide on")
    rows = dict(zip((c.id for c in matrix.candidates), (_outcomes(row) for row in matrix.outcomes), strict=True))
    candidates = sorted(matrix.candidates, key=lambda candidate: candidate.id)
    columns = sorted(enumerate(matrix.probes), key=lambda column: column[1].id)
    rejected = [found for found in (_rejection(c, rows[c.id], columns) for c in candidates) if found]
    failed = {rejection.candidate for rejection in rejected}
    viable = [candidate for candidate in candidates if candidate.id not in failed]
    valid = [(j, probe) for j, probe in columns if probe.kind in BINDING or _is_valid(j, viable, rows)]
    ignored = tuple(probe.id for j, probe in columns if (j, probe) not in valid)
    if not viable:
        reason = f"none of the {len(candidates)} candidates passes the requester's examples and tests"
        return _decision(policy, (), 1.0, (), rejected, ignored, {}, calibration, [reason])

    behaviours = _behaviours(viable, candidates, rows, valid, calibration)
    failures = _support([c for c in candidates if c.id in failed and not c.fitted], candidates, calibration)
    if all(candidate.fitted for candidate in viable):
        failures += calibration.fitted_failures
    binding = sum(probe.kind in BINDING for probe in matrix.probes)
    unseen = calibration.unseen * (1 + failures) / (1 + binding) ** calibration.binding_power
    tests = [(at, probe) for at, (_, probe) in enumerate(valid) if probe.kind == ProbeKind.GENERATED_TEST]
    weights, unseen_weight, reliability = _posterior(behaviours, tests, unseen)
    order = sorted(
        range(len(behaviours)),
        key=lambda k: (-round(weights[k] / TIE), -behaviours[k].belief, *_simplicity(behaviours[k].candidates[0])),
    )
    clusters = tuple(
        Cluster(
            members=tuple(candidate.id for candidate in behaviours[k].candidates),
            support=behaviours[k].support,
            weight=weights[k],
            tests_passed=sum(behaviours[k].outcomes[at] == _expected(probe) for at, probe in tests),
        )
        for k in order
    )
    leading, others = behaviours[order[0]], [(behaviours[k], weights[k]) for k in order[1:]]
    dissent = tuple(_dissent(leading, other, weight, [probe for _, probe in valid]) for other, weight in others)
    return _decision(policy, clusters, unseen_weight, dissent, rejected, ignored, reliability, calibration, [])


def _decision(
    policy: Policy,
    clusters: tuple[Cluster, ...],
    unseen_weight: float,
    dissent: tuple[Dissent, ...],
    rejected: Sequence[Rejection],
    ignored: tuple[str, ...],
    reliability: dict[str, float],
    calibration: Calibration,
    reasons: list[str],
) -> Decision:
    leading = clusters[0].members[0] if clusters else None
    confidence = calibration.confidence(clusters[0].weight) if clusters else 0.0
    if clusters and confidence < policy.minimum_confidence:
        reasons.append(f"confidence {confidence:.2f} is below the policy's minimum of {policy.minimum_confidence:.2f}")
    if clusters and clusters[0].support < policy.minimum_support:
        reasons.append(
            f"the leading cluster has the support of {clusters[0].support:.2f} independent candidates; "
            f"the policy wants {policy.minimum_support:.2f}"
        )
    return Decision(
        verdict="abstained" if reasons else "chosen",
        winner=None if reasons else leading,
        leading=leading,
        confidence=confidence,
        method=METHOD,
        clusters=clusters,
        unseen_weight=unseen_weight,
        dissent=dissent,
        rejected=tuple(rejected),
        ignored_probes=ignored,
        test_reliability=reliability,
        reasons=tuple(reasons),
    )


def _text(candidate: Candidate) -> str:
    """Return what tells the candidate's text apart; one without a digest is a text of its own."""
    return candidate.digest or f"id:{candidate.id}"


def _simplicity(candidate: Candidate) -> tuple[float, str]:
    return candidate.size, candidate.id


def _outcomes(row: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(outcome, RAISED) for outcome in row)


def _expected(probe: Probe) -> int | None:
    return None if probe.expected is None else max(probe.expected, RAISED)


def _rejection(candidate: Candidate, row: Sequence[int], columns: Sequence[tuple[int, Probe]]) -> Rejection | None:
    for j, probe in columns:
        if probe.kind in BINDING and probe.expected is not None and row[j] != _expected(probe):
            return Rejection(candidate.id, probe.id, probe.expected, row[j])
    return None


def _is_valid(column: int, viable: Sequence[Candidate], rows: dict[str, tuple[int, ...]]) -> bool:
    """Tell whether a generated input is within the program's domain: of every generator, half of the texts return.

    Of every one, because generators differ in kind: what a search composes rarely raises, and says nothing by it.
    """
    returned: dict[str, dict[str, bool]] = {}
    for candidate in viable:
        returned.setdefault(candidate.generator, {})[_text(candidate)] = rows[candidate.id][column] != RAISED
    return all(2 * sum(texts.values()) >= len(texts) for texts in returned.values())


def _support(members: Sequence[Candidate], all_candidates: Sequence[Candidate], calibration: Calibration) -> float:
    """Return how many independent candidates the members are worth: equal texts once, generators damped."""
    strongest: dict[str, float] = {}
    for candidate in all_candidates:
        strongest[candidate.generator] = max(strongest.get(candidate.generator, 0.0), candidate.prior)
    texts: dict[str, tuple[float, str]] = {}
    for candidate in members:
        vote = (candidate.prior / strongest[candidate.generator], candidate.generator)
        texts[_text(candidate)] = max(texts.get(_text(candidate), vote), vote)
    generators: dict[str, list[float]] = {}
    for weight, generator in texts.values():
        generators.setdefault(generator, []).append(weight)
    return fsum(effective_count(fsum(weights), calibration.candidate_correlation) for weights in generators.values())


def _behaviours(
    viable: Sequence[Candidate],
    all_candidates: Sequence[Candidate],
    rows: dict[str, tuple[int, ...]],
    valid: Sequence[tuple[int, Probe]],
    calibration: Calibration,
) -> list[_Behaviour]:
    """Group the viable candidates by what they return; without any valid probe only equal texts are known to agree."""
    belief: dict[str, float] = {}  # a text proposed twice is believed twice, which orders equals and weighs nothing
    for candidate in viable:
        belief[_text(candidate)] = belief.get(_text(candidate), 0.0) + candidate.prior
    groups: dict[tuple[tuple[int, ...], str], list[Candidate]] = {}
    for candidate in viable:
        outcomes = tuple(rows[candidate.id][j] for j, _ in valid)
        groups.setdefault((outcomes, "" if valid else _text(candidate)), []).append(candidate)
    behaviours = []
    for (outcomes, _), members in groups.items():
        best = sorted(members, key=lambda c: (-c.quality, -belief[_text(c)], *_simplicity(c)))
        support = _support(members, all_candidates, calibration)
        behaviours.append(_Behaviour(tuple(best), outcomes, support, belief[_text(best[0])]))
    return behaviours


def _kindred_support(behaviours: Sequence[_Behaviour]) -> list[float]:
    """Return the geometric mean of each cluster's own support and of all support as far as it returns the same.

    Candidates that differ on one odd input still vouch for each other elsewhere; raising alike is no agreement. Of
    candidates that a search fitted to the examples this is not so: it shows alternatives because they differ, so that
    their likeness is the search's choice; each behaviour has the support of its own programs' probability alone.
    """
    supports = []
    for own in behaviours:
        if all(candidate.fitted for candidate in own.candidates):
            supports.append(own.support)
            continue
        terms = []
        for other in behaviours:
            alike = sum(x == y != RAISED for x, y in zip(own.outcomes, other.outcomes, strict=True))
            likeness = 1.0 if own is other else (alike / len(own.outcomes) if own.outcomes else 0.0)
            terms.append(other.support * likeness**KINSHIP_POWER)
        supports.append(sqrt(own.support * fsum(terms)))
    return supports


def _posterior(
    behaviours: Sequence[_Behaviour], tests: Sequence[tuple[int, Probe]], unseen: float
) -> tuple[list[float], float, dict[str, float]]:
    """Return the weight of every behaviour, of "none is right", and the learned reliability of each generated test.

    A behaviour weighs its kindred support times one plus the reliability of the tests it passes; a test is as reliable
    as the behaviours that pass it are heavy; "none is right" weighs as if it passed the usual share of them.
    """
    supports = _kindred_support(behaviours)
    shares = [support / fsum(supports) for support in supports]
    passed = [[behaviour.outcomes[at] == _expected(probe) for behaviour in behaviours] for at, probe in tests]
    reliabilities = [0.0] * len(tests)
    for _ in range(MUTUAL_ROUNDS):
        reliabilities = [fsum(compress(shares, passes)) for passes in passed]
        scores = [
            support * (1 + fsum(r for r, passes in zip(reliabilities, passed, strict=True) if passes[k]))
            for k, support in enumerate(supports)
        ]
        shares = [score / fsum(scores) for score in scores]
    unseen_score = unseen * (1 + len(tests) * USUAL_RELIABILITY)
    total = fsum([*scores, unseen_score])
    learned = {probe.id: reliability for (_, probe), reliability in zip(tests, reliabilities, strict=True)}
    return [score / total for score in scores], unseen_score / total, learned


def _dissent(leading: _Behaviour, other: _Behaviour, weight: float, probes: Sequence[Probe]) -> Dissent:
    members = tuple(candidate.id for candidate in other.candidates)
    for probe, ours, theirs in zip(probes, leading.outcomes, other.outcomes, strict=True):
        if ours != theirs:
            sentence = (
                f"{len(members)} of the candidates ({members[0]} first) with weight {weight:.2f} "
                f"{_verb(theirs)} on probe {probe.id} where {leading.candidates[0].id} {_verb(ours)}"
            )
            return Dissent(members, weight, probe.id, ours, theirs, sentence)
    sentence = f"{members[0]} is another text, and no valid probe compares it with {leading.candidates[0].id}"
    return Dissent(members, weight, "", 0, 0, sentence)


def _verb(outcome: int) -> str:
    return "raises an error" if outcome == RAISED else f"returns outcome {outcome}"
