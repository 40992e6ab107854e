"""Voter reliability against the published example of Dawid and Skene, and against voters whose quality is known."""

from itertools import product

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


def test_the_published_posterior_of_the_doubtful_patients_is_found() -> None:
    posteriors = fit_confusion(anaesthetist_items(), "1234").posteriors

    assert max(posteriors[0], key=lambda label: posteriors[0][label]) == "1"
    assert {label: round(share, 2) for label, share in posteriors[2].items() if share > 0.005} == {"1": 0.0, "2": 1.0}
