"""Choosing among code candidates by how they behave: clusters of equal behaviour, weighed by independent evidence.

The model. A candidate that fails a binding probe (the requester's example or test) cannot win. The others fall into
clusters that return the same on every valid probe. A cluster's support is the number of independent candidates in it
(equal texts once, candidates of one generator damped), times the likelihood of the generated tests if the cluster were
right; how reliable those tests are is learned from the matrix itself, tests and clusters being evidence for each other
(B. Chen et al., CodeT, 2022, with the expectation maximisation of Dawid and Skene, 1979). Against all clusters stands
"none of them is right". The posterior is mapped to a confidence by a calibration fitted on real outcomes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, fsum, log
from typing import Any, Literal

from grace_common.contract.errors import Refused

from grace_consensus.domain.confidence import DEFAULT, Calibration, effective_count
from grace_consensus.domain.execution_matrix import BINDING, RAISED, Candidate, ExecutionMatrix, Probe, ProbeKind

METHOD = "functional-agreement.v1"
EM_ITERATIONS = 25  # fixed, so that replays agree
RELIABILITY_PRIOR = (
    1.0,
    2.0,
)  # pseudo-counts right and wrong: one model-written test in three is right (CodeT, section 4)
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
    tests_passed: int  # generated tests on valid probes
    size: float  # of its first member


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
    test_reliability: float | None  # learned share of generated tests that are right; None without such tests
    reasons: tuple[str, ...]  # why it abstained

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Behaviour:
    candidates: tuple[Candidate, ...]  # best first
    outcomes: tuple[int, ...]  # on the valid probes
    support: float


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
        return _decision(policy, (), 1.0, (), rejected, ignored, None, calibration, [reason])

    behaviours = _behaviours(viable, candidates, rows, valid, calibration)
    failures = _support([c for c in candidates if c.id in failed and not c.fitted], candidates, calibration)
    unseen = calibration.unseen * (1 + calibration.failed_weight * failures)
    tests = [(at, probe) for at, (_, probe) in enumerate(valid) if probe.kind == ProbeKind.GENERATED_TEST]
    weights, unseen_weight, reliability = _posterior(behaviours, tests, unseen, calibration)
    order = sorted(
        range(len(behaviours)),
        key=lambda k: (-round(weights[k] / TIE), behaviours[k].candidates[0].size, behaviours[k].candidates[0].id),
    )
    clusters = tuple(
        Cluster(
            members=tuple(candidate.id for candidate in behaviours[k].candidates),
            support=behaviours[k].support,
            weight=weights[k],
            tests_passed=sum(behaviours[k].outcomes[at] == _expected(probe) for at, probe in tests),
            size=behaviours[k].candidates[0].size,
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
    reliability: float | None,
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
    """Tell whether a generated input is within the program's domain: at least half of the different texts return."""
    returned = {candidate.digest or candidate.id: rows[candidate.id][column] != RAISED for candidate in viable}
    return 2 * sum(returned.values()) >= len(returned)


def _support(members: Sequence[Candidate], all_candidates: Sequence[Candidate], calibration: Calibration) -> float:
    """Return how many independent candidates the members are worth: equal texts once, generators damped."""
    strongest: dict[str, float] = {}
    for candidate in all_candidates:
        strongest[candidate.generator] = max(strongest.get(candidate.generator, 0.0), candidate.prior)
    texts: dict[str, tuple[float, str]] = {}
    for candidate in members:
        vote = (candidate.prior / strongest[candidate.generator], candidate.generator)
        text = candidate.digest or f"id:{candidate.id}"
        texts[text] = max(texts.get(text, vote), vote)
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
    groups: dict[tuple[tuple[int, ...], str], list[Candidate]] = {}
    for candidate in viable:
        outcomes = tuple(rows[candidate.id][j] for j, _ in valid)
        groups.setdefault((outcomes, "" if valid else candidate.digest or candidate.id), []).append(candidate)
    return [
        _Behaviour(
            tuple(sorted(members, key=lambda c: (-c.quality, c.size, -c.prior, c.id))),
            outcomes,
            _support(members, all_candidates, calibration),
        )
        for (outcomes, _), members in groups.items()
    ]


def _posterior(
    behaviours: Sequence[_Behaviour],
    tests: Sequence[tuple[int, Probe]],
    unseen: float,
    calibration: Calibration,
) -> tuple[list[float], float, float | None]:
    """Return the weight of every behaviour, of "none is right", and the learned reliability of the generated tests."""
    prior = [log(behaviour.support) for behaviour in behaviours] + [log(unseen)]
    weights = _softmax(prior)
    if not tests:
        return weights[:-1], weights[-1], None
    damping = effective_count(len(tests), calibration.test_correlation) / len(tests)
    passed = [[behaviour.outcomes[at] == _expected(probe) for behaviour in behaviours] for at, probe in tests]
    classes = [len({b.outcomes[at] for b in behaviours} | {_expected(probe)}) for at, probe in tests]
    right, wrong = RELIABILITY_PRIOR
    reliability = right / (right + wrong)
    for _ in range(EM_ITERATIONS):
        evidence: list[list[float]] = [[] for _ in weights]
        known = fsum(weights[:-1])
        for passes, count in zip(passed, classes, strict=True):
            share = fsum(w for w, p in zip(weights[:-1], passes, strict=True) if p) / known
            by_accident = (1 - reliability) / count
            for k, passes_k in enumerate(passes):
                evidence[k].append(log(reliability if passes_k else by_accident))
            # If no candidate is right, the truth equals what some of them return half of the time.
            truth = 0.5 * share if any(passes) else 0.5
            evidence[-1].append(log(reliability * truth + by_accident * (1 - truth)))
        weights = _softmax([p + damping * fsum(e) for p, e in zip(prior, evidence, strict=True)])
        agreed = fsum(fsum(w for w, p in zip(weights[:-1], passes, strict=True) if p) for passes in passed) * damping
        trials = fsum(weights[:-1]) * len(tests) * damping
        reliability = (right + agreed) / (right + wrong + trials)
    return weights[:-1], weights[-1], reliability


def _softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    raw = [exp(score - top) for score in scores]
    total = fsum(raw)
    return [value / total for value in raw]


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
