"""How far each voter can be trusted, learned from past items with or without a known outcome (Dawid-Skene family)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log, sqrt

from grace_common.contract.errors import Refused

EM_ITERATIONS = 50  # fixed, so that replays agree; the 1979 anaesthetist data move by less than 1e-6 after 30
SMALLEST = 1e-12  # keeps the logarithm of an unseen answer finite
CORRELATION_PRIOR_ITEMS = 10.0  # shared items at which a pair's measured correlation counts for half
CORRELATION_SIGMAS = 2.0  # shared errors must exceed chance by this many standard deviations

Posterior = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PastVote:
    """One answer of one voter to one past item."""

    voter: str
    choice: str


@dataclass(frozen=True, slots=True)
class PastItem:
    """A question of the past: who answered what, and the right answer where it became known."""

    votes: tuple[PastVote, ...]
    outcome: str | None = None
    options: tuple[str, ...] = ()  # what could be chosen; empty: whatever was voted for, and the outcome

    def choices(self) -> list[str]:
        """Return everything that could have been the answer, sorted."""
        named = {vote.choice for vote in self.votes} | set(self.options)
        return sorted(named | {self.outcome} if self.outcome is not None else named)


@dataclass(frozen=True, slots=True)
class ConfusionFit:
    """What Dawid-Skene learned: class marginals, error rates `[voter][truth][answer]`, a posterior per item."""

    marginals: dict[str, float]
    error_rates: dict[str, dict[str, dict[str, float]]]
    posteriors: tuple[dict[str, float], ...]


@dataclass(frozen=True, slots=True)
class OneCoinFit:
    """Each voter's probability of answering right, whatever the truth, and a posterior per item."""

    accuracies: dict[str, float]
    posteriors: tuple[dict[str, float], ...]


def fit_confusion(
    items: Sequence[PastItem],
    classes: Iterable[str],
    *,
    smoothing: float = 0.0,
    prior_accuracy: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
) -> ConfusionFit:
    """Fit class marginals and one confusion matrix per voter by expectation maximisation.

    classes         every label, the same for all items; a vote outside them is Refused
    smoothing       pseudo-answers per row of each matrix, spread by prior_accuracy; 0 is the published estimator
    prior_accuracy  share of the pseudo-answers on the diagonal, per voter; these voters may have no votes
    weights         how much of a vote counts in the expectation step, per voter (correlated voters); 1 when absent
    source          A. P. Dawid and A. M. Skene, Applied Statistics 28 (1979), 20-28, equations 2.3 to 2.5
    """
    labels = sorted(set(classes))
    for item in items:
        foreign = [choice for choice in item.choices() if choice not in labels]
        if foreign:
            raise Refused(f"{foreign[0]!r} is not one of the classes {labels}")
    voters = sorted({vote.voter for item in items for vote in item.votes} | (prior_accuracy or {}).keys())
    diagonal = {voter: (prior_accuracy or {}).get(voter, 1 / len(labels)) for voter in voters}
    posteriors = [_vote_shares(item, labels) for item in items]
    marginals, error_rates = _confusion_step(items, posteriors, diagonal, labels, smoothing)
    for _ in range(EM_ITERATIONS):
        posteriors = [
            _known(item, labels) or confusion_posterior(item.votes, marginals, error_rates, weights) for item in items
        ]
        marginals, error_rates = _confusion_step(items, posteriors, diagonal, labels, smoothing)
    return ConfusionFit(marginals, error_rates, tuple(posteriors))


def confusion_posterior(
    votes: Sequence[PastVote],
    marginals: Mapping[str, float],
    error_rates: Mapping[str, Mapping[str, Mapping[str, float]]],
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return the probability of each class given the votes (Dawid and Skene's equation 2.5)."""
    scores = {}
    for truth, marginal in sorted(marginals.items()):
        terms = [log(max(marginal, SMALLEST))]
        for vote in votes:
            weight = 1.0 if weights is None else weights.get(vote.voter, 1.0)
            terms.append(weight * log(max(error_rates[vote.voter][truth][vote.choice], SMALLEST)))
        scores[truth] = fsum(terms)
    return normalised(scores)


def fit_one_coin(
    items: Sequence[PastItem],
    *,
    prior_accuracy: Mapping[str, float],
    prior_votes: float,
    weights: Mapping[str, float] | None = None,
) -> OneCoinFit:
    """Fit one accuracy per voter; options may differ from item to item.

    prior_accuracy  per voter, 0 to 1; every voter of the items must be there
    prior_votes     how many past votes the prior is worth, > 0
    """
    posteriors = [_vote_shares(item, item.choices()) for item in items]
    accuracies = _accuracy_step(items, posteriors, prior_accuracy, prior_votes)
    for _ in range(EM_ITERATIONS):
        posteriors = [
            _known(item, item.choices()) or one_coin_posterior(item.votes, item.choices(), accuracies, weights)
            for item in items
        ]
        accuracies = _accuracy_step(items, posteriors, prior_accuracy, prior_votes)
    return OneCoinFit(accuracies, tuple(posteriors))


def one_coin_posterior(
    votes: Sequence[PastVote],
    options: Sequence[str],
    accuracies: Mapping[str, float],
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return the probability of each option: a voter is right with its accuracy, else wrong evenly over the others."""
    scores = {}
    for option in sorted(options):
        terms = []
        for vote in votes:
            accuracy = accuracies[vote.voter]
            likelihood = accuracy if vote.choice == option else (1 - accuracy) / max(1, len(options) - 1)
            terms.append((1.0 if weights is None else weights.get(vote.voter, 1.0)) * log(max(likelihood, SMALLEST)))
        scores[option] = fsum(terms)
    return normalised(scores)


def shared_error_correlation(
    items: Sequence[PastItem], posteriors: Sequence[Posterior]
) -> dict[tuple[str, str], float]:
    """Return, per pair of voters (sorted names), how far their errors coincide beyond chance: 0 to 1, zeros left out.

    Two voters who choose the same wrong answer more often than their error rates explain see the same thing twice.
    Agreement on right answers says nothing: good voters agree because they are good.
    """
    wrong: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for item, posterior in zip(items, posteriors, strict=True):
        others = max(1, len(item.choices()) - 1)
        chosen = {vote.voter: vote.choice for vote in item.votes}
        for first in sorted(chosen):
            for second in sorted(chosen):
                if first < second:
                    errors = 1 - posterior[chosen[first]], 1 - posterior[chosen[second]]
                    together = errors[0] if chosen[first] == chosen[second] else 0.0
                    wrong.setdefault((first, second), []).append((*errors, together, 1 / others))
    found = {}
    for pair, rows in wrong.items():
        count = len(rows)
        rate_first, rate_second, together, spread = (fsum(row[i] for row in rows) / count for i in range(4))
        by_chance, most = rate_first * rate_second * spread, sqrt(rate_first * rate_second)
        excess = together - by_chance
        if excess * count > CORRELATION_SIGMAS * sqrt(max(by_chance * count, 0.25)) and most > by_chance:
            found[pair] = min(1.0, excess / (most - by_chance)) * count / (count + CORRELATION_PRIOR_ITEMS)
    return found


def normalised(log_scores: Mapping[str, float]) -> dict[str, float]:
    """Return probabilities proportional to exp(score)."""
    top = max(log_scores.values())
    weights = {name: exp(score - top) for name, score in log_scores.items()}
    total = fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _known(item: PastItem, labels: Sequence[str]) -> dict[str, float] | None:
    return None if item.outcome is None else {label: float(label == item.outcome) for label in labels}


def _vote_shares(item: PastItem, labels: Sequence[str]) -> dict[str, float]:
    known = _known(item, labels)
    if known is not None:
        return known
    if not item.votes:
        return {label: 1 / len(labels) for label in labels}
    return {label: sum(vote.choice == label for vote in item.votes) / len(item.votes) for label in labels}


def _confusion_step(
    items: Sequence[PastItem],
    posteriors: Sequence[Posterior],
    diagonal: Mapping[str, float],
    labels: Sequence[str],
    smoothing: float,
) -> tuple[dict[str, float], dict[str, dict[str, dict[str, float]]]]:
    """Estimate marginals and error rates from the posteriors (Dawid and Skene's equations 2.3 and 2.4)."""
    others = max(1, len(labels) - 1)
    counts = {
        voter: {
            truth: {label: smoothing * (right if label == truth else (1 - right) / others) for label in labels}
            for truth in labels
        }
        for voter, right in diagonal.items()
    }
    for item, posterior in zip(items, posteriors, strict=True):
        for vote in item.votes:
            for truth in labels:
                counts[vote.voter][truth][vote.choice] += posterior[truth]
    for rows in counts.values():
        for row in rows.values():
            total = fsum(row.values())
            row.update({label: count / total if total else 1 / len(labels) for label, count in row.items()})
    even = smoothing / len(labels)
    mass = {label: fsum(posterior[label] for posterior in posteriors) + even for label in labels}
    total = fsum(mass.values())
    return {label: share / total if total else 1 / len(labels) for label, share in mass.items()}, counts


def _accuracy_step(
    items: Sequence[PastItem],
    posteriors: Sequence[Posterior],
    prior_accuracy: Mapping[str, float],
    prior_votes: float,
) -> dict[str, float]:
    right = {voter: [prior * prior_votes] for voter, prior in prior_accuracy.items()}
    for item, posterior in zip(items, posteriors, strict=True):
        for vote in item.votes:
            right[vote.voter].append(posterior[vote.choice])
    return {voter: fsum(shares) / (prior_votes + len(shares) - 1) for voter, shares in right.items()}
