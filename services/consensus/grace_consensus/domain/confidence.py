"""From evidence to a calibrated probability: a monotone map whose few parameters are data, fitted on real outcomes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import exp, log
from typing import Any, Self

from grace_common.contract.errors import Refused

CERTAIN = 0.995  # no finite evidence of this kind makes surer than 199 to 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The parameters of the agreement model, as fitted; see the `provenance` beside them in calibration.json.

    candidate_correlation  how much two candidates of one generator repeat each other, 0 to 1
    test_correlation       the same for two generated tests
    unseen                 prior weight of "none of them is right", in votes of one independent candidate, > 0
    failed_weight          how much each failed independent candidate adds to that weight, ≥ 0
    slope, intercept       logistic map of the posterior's log-odds; slope > 0 keeps it monotone
    """

    candidate_correlation: float
    test_correlation: float
    unseen: float
    failed_weight: float
    slope: float
    intercept: float

    def __post_init__(self) -> None:
        inside = 0 <= self.candidate_correlation <= 1 and 0 <= self.test_correlation <= 1
        if not (inside and self.unseen > 0 and self.failed_weight >= 0 and self.slope > 0):
            raise Refused(f"the calibration {self} is not monotone or lies outside its ranges")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the `parameters` of a calibration document."""
        return cls(**{name: float(value) for name, value in document["parameters"].items()})

    def confidence(self, posterior: float) -> float:
        """Return the calibrated probability that the winner is right, below 1 always."""
        bounded = min(max(posterior, 1e-9), 1 - 1e-9)
        return CERTAIN / (1 + exp(-(self.slope * log(bounded / (1 - bounded)) + self.intercept)))


DEFAULT = Calibration.of(json.loads(files(__package__).joinpath("calibration.json").read_text(encoding="utf-8")))


def effective_count(weight: float, correlation: float) -> float:
    """Return how many independent votes correlated ones of that total weight are worth: between 0 and 1/correlation.

    source  the design effect of L. Kish, Survey Sampling (1965), section 8.2: n / (1 + (n - 1) ρ)
    """
    return weight / (1 + (weight - 1) * correlation) if weight > 0 else 0.0
