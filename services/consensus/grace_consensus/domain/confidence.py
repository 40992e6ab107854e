"""From evidence to a calibrated probability: a monotone map whose few parameters are data, fitted on real outcomes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import exp, log
from typing import Any, Self

from grace_common.contract.errors import Refused

CERTAIN = 0.995  # agreement on finitely many probes proves nothing: the map ends here


@dataclass(frozen=True, slots=True)
class Calibration:
    """The parameters of the agreement model; calibration.json beside this module tells what they were fitted on.

    candidate_correlation  how much two candidates of one generator repeat each other, 0 to 1
    unseen                 weight of "none of them is right", in independent candidates, before any evidence, > 0
    binding_power          that weight falls with (1 + binding probes) to this power, ≥ 0
    slope                  of the confidence's log-odds on the posterior's log-odds, > 0: the map is monotone
    fitted_failures        independent failures presumed of a search that shows only what passes, ≥ 0
    """

    candidate_correlation: float
    unseen: float
    binding_power: float
    slope: float
    fitted_failures: float

    def __post_init__(self) -> None:
        positive = self.unseen > 0 and self.slope > 0
        if not (
            0 <= self.candidate_correlation <= 1 and positive and min(self.binding_power, self.fitted_failures) >= 0
        ):
            raise Refused(f"the calibration {self} is not monotone or lies outside its ranges")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read the `parameters` of a calibration document."""
        return cls(**{name: float(value) for name, value in document["parameters"].items()})

    def confidence(self, posterior: float) -> float:
        """Return the calibrated probability that the winner is right, below 1 always."""
        bounded = min(max(posterior, 1e-9), 1 - 1e-9)
        return CERTAIN / (1 + exp(-self.slope * log(bounded / (1 - bounded))))


DEFAULT = Calibration.of(json.loads(files(__package__).joinpath("calibration.json").read_text(encoding="utf-8")))


def effective_count(weight: float, correlation: float) -> float:
    """Return how many independent votes correlated ones of that total weight are worth: between 0 and 1/correlation.

    source  the design effect of L. Kish, Survey Sampling (1965), section 8.2: n / (1 + (n - 1) ρ)
    """
    return weight / (1 + (weight - 1) * correlation) if weight > 0 else 0.0
