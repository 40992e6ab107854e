"""How much one client may ask."""

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter


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
