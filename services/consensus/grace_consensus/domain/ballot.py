"""Choosing among options by ballots of voters (models, rules, people) whose reliability and kinship are learned.

Each voter has a reliability, learned from the past items it voted on; ballots are combined by Bayes' rule. Voters of
one declared family, and voters who made the same errors in the past, share their weight instead of adding it up.
The posterior is tempered by how well it predicted the known outcomes of the past.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import fsum, log
from typing import Any, Literal, Self

from grace_common.contract.errors import Refused

from grace_consensus.domain.reliability import (
    SMALLEST,
    ConfusionFit,
    PastItem,
    PastVote,
    fit_confusion,
    fit_one_coin,
    normalised,
    shared_error_correlation,
)

METHODS = {"one-coin": "dawid-skene-one-coin.v1", "confusion": "dawid-skene-confusion.v1"}
TIE = 1e-9
SUREST = 0.99  # a stated confidence is read within 1 to 99 %
NOTHING = ""  # the unnamed rival of a single option: that it is wrong
TEMPERATURES = tuple(step / 4 for step in range(4, 21))  # 1 to 5: the past may show over-confidence, never the reverse
TEMPERATURE_PENALTY = 4.0  # log-likelihood that a temperature must gain per unit of its logarithm to be believed


@dataclass(frozen=True, slots=True)
class Ballot:
    """One voter's choice; `confidence` is the voter's own, 0 to 1, `family` names voters that repeat one another."""

    voter: str
    option: str
    confidence: float | None = None
    family: str = ""

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise Refused(f"the ballot of {self.voter} has the confidence {self.confidence}; 0 to 1 is expected")


@dataclass(frozen=True, slots=True)
class PastDecision:
    """An item of the past with its ballots, and its right option where that became known."""

    ballots: tuple[Ballot, ...]
    outcome: str | None = None
    options: tuple[str, ...] = ()  # empty: the options voted for, and the outcome

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Build it from plain JSON values with the names of the fields."""
        return cls(
            tuple(_ballots(document.get("ballots", ()))),
            document.get("outcome"),
            tuple(document.get("options", ())),
        )


@dataclass(frozen=True, slots=True)
class BallotPolicy:
    """How ballots are weighed, and what must hold for a winner to be named.

    minimum_confidence  below it the consensus abstains
    quorum              independent voters who must have voted; correlated ones count together as one
    abstain_on_tie      an exact tie abstains; otherwise it goes to the lowest option
    model               "one-coin": one reliability per voter, options may differ from item to item;
                        "confusion": one confusion matrix per voter, for options that recur (approve, reject)
    prior_reliability   probability that a voter without a past is right
    prior_votes         past votes that this prior is worth, > 0
    reliabilities       prior reliability of named voters, where it is known to differ
    """

    minimum_confidence: float = 0.5
    quorum: float = 1.0
    abstain_on_tie: bool = True
    model: Literal["one-coin", "confusion"] = "one-coin"
    prior_reliability: float = 0.7
    prior_votes: float = 4.0
    reliabilities: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        priors = [self.prior_reliability, *self.reliabilities.values()]
        shares = 0 <= self.minimum_confidence <= 1 and all(0 < prior < 1 for prior in priors)
        if not (shares and self.quorum >= 0 and self.prior_votes > 0 and self.model in METHODS):
            raise Refused(f"the policy {self} lies outside its ranges")

    def prior_of(self, voter: str) -> float:
        """Return the reliability assumed of a voter before its past is seen."""
        return self.reliabilities.get(voter, self.prior_reliability)


@dataclass(frozen=True, slots=True)
class VoterWeight:
    """What one ballot counted: reliability learned, and share of an independent vote (1 when nobody repeats it)."""

    voter: str
    option: str
    reliability: float
    weight: float


@dataclass(frozen=True, slots=True)
class OptionWeight:
    """One option with its posterior probability and who chose it."""

    option: str
    weight: float
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BallotDecision:
    """The verdict with all that led to it; `as_dict()` is plain JSON."""

    verdict: Literal["chosen", "abstained"]
    winner: str | None  # None when abstained
    leading: str | None  # who would have won; None on an exact tie that abstains, and without ballots
    confidence: float  # posterior probability of the heaviest option, 0 to 1
    method: str
    options: tuple[OptionWeight, ...]  # heaviest first; the weights and none_weight sum to one
    voters: tuple[VoterWeight, ...]
    independent_voters: float
    none_weight: float  # that the only option is wrong; 0 when there are several
    dissent: tuple[str, ...]
    reasons: tuple[str, ...]  # why it abstained

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Past:
    """What the history taught."""

    accuracies: dict[str, float]
    correlations: dict[tuple[str, str], float]  # of pairs of voters in sorted order; zeros left out
    confusion: ConfusionFit | None  # None in the one-coin model
    boldness: dict[str, float]  # usual log-odds of the confidence that a voter states
    temperature: float = 1.0


def decide_options(
    options: Sequence[str],
    ballots: Iterable[Ballot | Mapping[str, Any]],
    history: Iterable[PastDecision | Mapping[str, Any]] = (),
    policy: BallotPolicy | None = None,
) -> BallotDecision:
    """Return the option that the ballots favour, or abstain; a pure function of its arguments.

    options  at least one, no repetition; the order does not matter
    ballots  at most one per voter, each for one of the options; mappings with the fields of Ballot are taken too
    history  past items with their ballots, with or without outcome; mappings with the fields of PastDecision too
    policy   BallotPolicy() when absent
    raises   Refused for an unknown option, a repeated option or voter, or a confidence outside 0 to 1
    """
    policy = policy or BallotPolicy()
    cast = sorted(_ballots(ballots), key=lambda ballot: ballot.voter)
    _refuse_invalid(options, cast)
    labels = sorted(options)
    if not cast:
        share = 1 / len(_rivals(labels))
        even = tuple(OptionWeight(option, share, ()) for option in labels)
        none_weight = 1 - share * len(labels)
        reasons = ("no ballot was cast",)
        return BallotDecision(
            "abstained", None, None, share, METHODS[policy.model], even, (), 0.0, none_weight, (), reasons
        )
    past = _learn([h if isinstance(h, PastDecision) else PastDecision.of(h) for h in history], cast, labels, policy)
    return _decision(cast, labels, _weights(cast, past), _posterior(cast, labels, past), past, policy)


def _decision(
    cast: Sequence[Ballot],
    labels: Sequence[str],
    weights: Mapping[str, float],
    posterior: Mapping[str, float],
    past: _Past,
    policy: BallotPolicy,
) -> BallotDecision:
    order = sorted(labels, key=lambda option: (-round(posterior[option] / TIE), option))
    confidence = posterior[order[0]]
    tied = [option for option in order if confidence - posterior[option] < TIE]
    independent = fsum(weights.values())
    reasons = []
    if len(tied) > 1 and policy.abstain_on_tie:
        reasons.append(f"the options {', '.join(tied)} are exactly tied")
    if independent < policy.quorum - TIE:
        reasons.append(f"{independent:.2f} independent voters are fewer than the quorum of {policy.quorum:.2f}")
    if confidence < policy.minimum_confidence:
        reasons.append(f"confidence {confidence:.2f} is below the policy's minimum of {policy.minimum_confidence:.2f}")
    backers = {option: tuple(b.voter for b in cast if b.option == option) for option in labels}
    dissent = tuple(
        f"{', '.join(backers[option])} chose {option} (weight {posterior[option]:.2f}) rather than {order[0]}"
        for option in order[1:]
        if backers[option]
    )
    return BallotDecision(
        verdict="abstained" if reasons else "chosen",
        winner=None if reasons else order[0],
        leading=None if len(tied) > 1 and policy.abstain_on_tie else order[0],
        confidence=confidence,
        method=METHODS[policy.model],
        options=tuple(OptionWeight(option, posterior[option], backers[option]) for option in order),
        voters=tuple(VoterWeight(b.voter, b.option, past.accuracies[b.voter], weights[b.voter]) for b in cast),
        independent_voters=independent,
        none_weight=posterior.get(NOTHING, 0.0),
        dissent=dissent,
        reasons=tuple(reasons),
    )


def _ballots(ballots: Iterable[Ballot | Mapping[str, Any]]) -> list[Ballot]:
    known = {each.name for each in fields(Ballot)}
    found = []
    for ballot in ballots:
        if isinstance(ballot, Ballot):
            found.append(ballot)
        elif {"voter", "option"} <= ballot.keys() <= known:
            found.append(Ballot(**ballot))
        else:
            raise Refused(f"a ballot has the fields {sorted(ballot)}; voter and option of {sorted(known)} are expected")
    return found


def _refuse_invalid(options: Sequence[str], cast: Sequence[Ballot]) -> None:
    if not options or len(set(options)) != len(options) or NOTHING in options:
        raise Refused(f"the options {list(options)} are expected to be at least one, each once and not empty")
    voters = [ballot.voter for ballot in cast]
    repeated = sorted({voter for voter in voters if voters.count(voter) > 1})
    if repeated:
        raise Refused(f"the voters {repeated} cast more than one ballot")
    for ballot in cast:
        if ballot.option not in options:
            raise Refused(f"{ballot.voter} voted for {ballot.option!r}, which is not one of the options")


def _learn(
    history: Sequence[PastDecision], cast: Sequence[Ballot], labels: Sequence[str], policy: BallotPolicy
) -> _Past:
    """Fit reliabilities twice: the first fit shows who repeats whom, the second one counts them accordingly."""
    past = sorted((_in_order(decision) for decision in history), key=repr)
    items = [PastItem(tuple(PastVote(b.voter, b.option) for b in h.ballots), h.outcome, h.options) for h in past]
    seen = [ballot for decision in past for ballot in decision.ballots] + list(cast)
    family = {ballot.voter: ballot.family for ballot in seen}
    voters = sorted(family)
    priors = {voter: policy.prior_of(voter) for voter in voters}
    pairs = [(first, second) for first in voters for second in voters if first < second]
    declared = {(u, v): 1.0 for u, v in pairs if family[u] and family[u] == family[v]}
    independent = fit_one_coin(
        items, prior_accuracy=priors, prior_votes=policy.prior_votes, weights=_shares(voters, declared)
    )
    correlations = shared_error_correlation(items, independent.posteriors) | declared
    shares = _shares(voters, correlations)
    accuracies = fit_one_coin(items, prior_accuracy=priors, prior_votes=policy.prior_votes, weights=shares).accuracies
    confusion = None
    if policy.model == "confusion":
        classes = {*_rivals(labels), *(choice for item in items for choice in item.choices())}
        confusion = fit_confusion(items, classes, smoothing=policy.prior_votes, prior_accuracy=priors, weights=shares)
    boldness = {voter: [_log_odds(priors[voter])] for voter in voters}
    for ballot in (ballot for decision in past for ballot in decision.ballots):
        if ballot.confidence is not None:
            boldness[ballot.voter].append(_log_odds(ballot.confidence))
    usual = {voter: fsum(stated) / len(stated) for voter, stated in boldness.items()}
    learned = _Past(accuracies, correlations, confusion, usual)
    return replace(learned, temperature=_temperature(past, items, learned))


def _in_order(decision: PastDecision) -> PastDecision:
    ballots = tuple(sorted(decision.ballots, key=lambda ballot: (ballot.voter, ballot.option, repr(ballot))))
    return PastDecision(ballots, decision.outcome, tuple(sorted(decision.options)))


def _shares(voters: Sequence[str], correlations: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Return the part of an independent vote that each voter has among these: 1 / (1 + its correlations with them)."""
    return {
        voter: 1 / (1 + fsum(correlations.get((min(voter, u), max(voter, u)), 0.0) for u in voters if u != voter))
        for voter in voters
    }


def _weights(cast: Sequence[Ballot], past: _Past) -> dict[str, float]:
    return _shares(sorted({ballot.voter for ballot in cast}), past.correlations)


def _posterior(cast: Sequence[Ballot], labels: Sequence[str], past: _Past) -> dict[str, float]:
    """Combine the ballots by Bayes' rule; a ballot counts by its share, and by how sure its voter is for that voter."""
    weights = _weights(cast, past)
    rivals = _rivals(labels)
    scores = {}
    for truth in rivals:
        terms = [log(max(past.confusion.marginals[truth], SMALLEST))] if past.confusion else []
        for ballot in cast:
            likelihood = _likelihood(ballot, truth, len(rivals), past)
            terms.append(weights[ballot.voter] * _emphasis(ballot, past) * log(max(likelihood, SMALLEST)))
        scores[truth] = fsum(terms) / past.temperature
    return normalised(scores)


def _likelihood(ballot: Ballot, truth: str, count: int, past: _Past) -> float:
    if past.confusion:
        return past.confusion.error_rates[ballot.voter][truth][ballot.option]
    accuracy = past.accuracies[ballot.voter]
    return accuracy if ballot.option == truth else (1 - accuracy) / (count - 1)


def _emphasis(ballot: Ballot, past: _Past) -> float:
    """Return 1 for a voter as sure as usual, more for a surer one, 0 at least; a reliable voter's doubt counts more."""
    if ballot.confidence is None:
        return 1.0
    deviation = _log_odds(ballot.confidence) - past.boldness[ballot.voter]
    return min(2.0, max(0.0, 1 + past.accuracies[ballot.voter] * deviation / 2))


def _log_odds(share: float) -> float:
    bounded = min(max(share, 1 - SUREST), SUREST)
    return log(bounded / (1 - bounded))


def _rivals(labels: Sequence[str]) -> list[str]:
    return sorted(labels) if len(labels) > 1 else [*labels, NOTHING]


def _temperature(past: Sequence[PastDecision], items: Sequence[PastItem], learned: _Past) -> float:
    """Return by how much posteriors of this history must be flattened to have predicted its known outcomes best."""
    truths = [
        (_posterior(decision.ballots, item.choices(), learned), decision.outcome)
        for decision, item in zip(past, items, strict=True)
        if decision.outcome is not None and decision.ballots
    ]

    def loss(temperature: float) -> float:
        misses = []
        for posterior, outcome in truths:
            flat = normalised({option: log(max(p, SMALLEST)) / temperature for option, p in posterior.items()})
            misses.append(-log(max(flat[outcome], SMALLEST)))
        return fsum(misses) + TEMPERATURE_PENALTY * log(temperature)

    return min(TEMPERATURES, key=loss)
