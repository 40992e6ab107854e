"""Voter reliability against the published example of Dawid and Skene, and against voters whose quality is known."""

import pytest
from grace_common.contract.errors import Refused
from grace_consensus.domain.reliability import (
    PastItem,
    PastVote,
    fit_confusion,
    fit_one_coin,
    shared_error_correlation,
)

# Dawid and Skene (1979), table 1: 45 patients; observer 1 answered three times, observers 2 to 5 once.
ANAESTHETISTS = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|222 2 2 2 3
232 2 2 2 3|444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|111 1 1 1 1|111 1 1 1 1
222 2 2 2 1|222 1 3 2 2|222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|111 1 1 1 1|111 1 1 1 1|232 2 2 2 2
111 1 1 1 1|111 1 1 1 1|112 1 1 2 1|111 1 1 1 1|333 3 2 3 3|111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3
221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1|111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2
"""


def anaesthetist_items() -> list[PastItem]:
    rows = [row for line in ANAESTHETISTS.split("\n") if line for row in line.split("|")]
    return [
        PastItem(tuple(PastVote(str(n), c) for n, choices in enumerate(row.split(), 1) for c in choices))
        for row in rows
    ]


def test_the_published_class_marginals_are_found() -> None:
    fit = fit_confusion(anaesthetist_items(), "1234")

    assert [round(fit.marginals[label], 2) for label in "1234"] == [0.40, 0.42, 0.11, 0.07]


def test_the_published_error_rates_of_the_first_observer_are_found() -> None:
    rates = fit_confusion(anaesthetist_items(), "1234").error_rates["1"]

    assert [round(rates["1"][label], 2) for label in "1234"] == [0.89, 0.11, 0.00, 0.00]
    assert [round(rates["2"][label], 2) for label in "1234"] == [0.07, 0.88, 0.05, 0.00]


def test_doubtful_patients_get_the_posterior_of_the_published_fit() -> None:
    posteriors = fit_confusion(anaesthetist_items(), "1234").posteriors

    assert round(posteriors[6]["1"], 2) == 0.98
    assert round(posteriors[34]["2"], 2) == 0.95
    assert round(posteriors[37]["3"], 2) == 0.98


def test_every_posterior_sums_to_one() -> None:
    for posterior in fit_confusion(anaesthetist_items(), "1234", smoothing=1.0).posteriors:
        assert abs(sum(posterior.values()) - 1) < 1e-9


def test_a_vote_outside_the_classes_is_refused() -> None:
    with pytest.raises(Refused, match="'9' is not one of the classes"):
        fit_confusion([PastItem((PastVote("a", "9"),))], "12")


def test_a_known_outcome_teaches_more_than_the_majority() -> None:
    votes = (PastVote("lone", "x"), PastVote("b", "y"), PastVote("c", "y"))
    items = [PastItem(votes, "x")] * 10

    fit = fit_one_coin(items, prior_accuracy={"lone": 0.7, "b": 0.7, "c": 0.7}, prior_votes=4)

    assert fit.accuracies["lone"] > 0.9
    assert fit.accuracies["b"] < 0.25
    assert fit.posteriors[0] == {"x": 1.0, "y": 0.0}


def test_without_outcomes_the_voter_that_disagrees_with_the_others_is_found_unreliable() -> None:
    items = [
        PastItem((PastVote("a", right), PastVote("b", right), PastVote("c", right), PastVote("odd", wrong)))
        for right, wrong in [("x", "y"), ("y", "x")] * 10
    ]

    fit = fit_one_coin(items, prior_accuracy=dict.fromkeys(["a", "b", "c", "odd"], 0.7), prior_votes=4)

    assert fit.accuracies["odd"] < 0.2 < 0.9 < fit.accuracies["a"]


def test_an_item_without_votes_is_even_between_its_options() -> None:
    fit = fit_one_coin([PastItem((), options=("x", "y"))], prior_accuracy={}, prior_votes=4)

    assert fit.posteriors == ({"x": 0.5, "y": 0.5},)
    assert fit_confusion([PastItem(())], "12").marginals == {"1": 0.5, "2": 0.5}


def test_voters_who_make_the_same_errors_are_found_correlated_and_independent_ones_are_not() -> None:
    items = []
    for n in range(40):
        parrot = "x" if n % 2 else "y"
        other = "x" if n % 4 < 2 else "y"
        items.append(PastItem((PastVote("p", parrot), PastVote("q", parrot), PastVote("r", other)), "x"))

    found = shared_error_correlation(items, [{"x": 1.0, "y": 0.0}] * 40)

    assert set(found) == {("p", "q")}
    assert 0.7 < found["p", "q"] <= 1.0
