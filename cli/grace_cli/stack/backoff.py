"""How long to wait before a dead child is started again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
HEALTHY_AFTER_S: Final = 60.0


@dataclass(slots=True)
class Backoff:
    """Doubling waits with jitter, from one second to thirty; a child that lived a minute begins anew.

    jitter  returns a number from 0 to 1; keeps children that died together from coming back together
    """

    jitter: Callable[[], float]
    failures: int = 0

    def after(self, lived_s: float) -> float:
        """Return the seconds to wait now that the child has died after `lived_s` seconds."""
        self.failures = 1 if lived_s >= HEALTHY_AFTER_S else self.failures + 1
        ceiling = min(LONGEST_S, FIRST_S * 2.0 ** min(self.failures - 1, 10))
        return float(ceiling * (0.5 + self.jitter() / 2))
