"""How much one client may ask."""

import time
from collections.abc import Callable

from limits import RateLimitItem, parse


class RateLimit:
    """A number of hits per period and client, in the notation of the library `limits`, such as `100/second`.

    The counts of the running period are one dictionary, dropped when the next begins. The library's own storage in
    memory starts a timer thread for nearly every hit, which costs more than the whole request.
    """

    def __init__(self, rate: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._item: RateLimitItem = parse(rate)
        self._seconds = seconds
        self._period = -1
        self._hits: dict[str, int] = {}

    @property
    def rate(self) -> str:
        return str(self._item)

    @property
    def period_s(self) -> int:
        """The seconds after which a client that was refused may try again, at the latest."""
        return int(self._item.get_expiry())

    def admits(self, client: str) -> bool:
        """Count one hit; return whether it is within the limit."""
        period = int(self._seconds() // self.period_s)
        if period != self._period:
            self._period = period
            self._hits = {}
        hits = self._hits.get(client, 0) + 1
        self._hits[client] = hits
        return hits <= self._item.amount
