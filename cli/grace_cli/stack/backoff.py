"""How long to wait before a dead child is started again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from grace_cli.errors import CliError, Exit

FIRST_S: Final = 1.0
LONGEST_S: Final = 30.0
HEALTHY_AFTER_S: Final = 60.0


@dataclass(slots=True)
class Backoff:
    """Doubling waits with jitter, from one second to thirty; a child that lived a minute begins anew.

    jitter     returns a number from 0 to 1; keeps children that died together from coming back together
    longest_s  no wait is longer
    """

    jitter: Callable[[], float]
    longest_s: float = LONGEST_S
    failures: int = 0

    def after(self, lived_s: float) -> float:
        """Return the seconds to wait now that the child has died after `lived_s` seconds."""
        self.failures = 1 if lived_s >= HEALTHY_AFTER_S else self.failures + 1
        ceiling = min(self.longest_s, FIRST_S * 2.0 ** min(self.failures - 1, 10))
        return float(ceiling * (0.5 + self.jitter() / 2))


def longest_wait(environ: Mapping[str, str]) -> float:
    """Return the seconds in GRACE_RESTART_LONGEST_S, else LONGEST_S; CliError when they are none above zero."""
    named = environ.get("GRACE_RESTART_LONGEST_S", str(LONGEST_S))
    try:
        seconds = float(named)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise CliError(f"GRACE_RESTART_LONGEST_S is {named!r}", "give it a number of seconds above 0", Exit.USAGE)
    return seconds
