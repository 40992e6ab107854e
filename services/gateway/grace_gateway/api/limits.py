"""How much one client may ask, and how much of its refusals the ledger takes."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

_MOST_CLIENTS: Final = 1_000
_OTHERS: Final = "others"


class RateLimit:
    """A number of hits per period and client, such as `100/second`."""

    def __init__(self, rate: str) -> None:
        self._item: RateLimitItem = parse(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    @property
    def rate(self) -> str:
        return str(self._item)

    @property
    def period_s(self) -> int:
        """The seconds after which a client that was refused may try again, at the latest."""
        return int(self._item.get_expiry())

    def admits(self, client: str) -> bool:
        """Count one hit; return whether it is within the limit."""
        return self._limiter.hit(self._item, client)


@dataclass
class SuppressedRefusals:
    """Counts the refusals that are not stated one by one, so that nobody can flood the ledger with them."""

    counts: dict[str, Counter[int]] = field(default_factory=dict)

    def count(self, client: str, status: int) -> None:
        """Count one refusal; clients beyond the first thousand share one count."""
        name = client if client in self.counts or len(self.counts) < _MOST_CLIENTS else _OTHERS
        self.counts.setdefault(name, Counter())[status] += 1

    def take(self) -> dict[str, Counter[int]]:
        """Return what was counted and begin anew."""
        counts, self.counts = self.counts, {}
        return counts
