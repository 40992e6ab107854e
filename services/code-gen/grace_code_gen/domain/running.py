"""Which tasks are being worked on and which have ended, so that nobody works for a task that is over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

MOST_ENDED: Final = 10_000  # remembered; one that is forgotten costs a round nobody waits for


@dataclass
class Running(Generic[Key]):
    """Work in progress by key, each with the function that stops it; and the keys that need no work any more."""

    _stops: dict[Key, Callable[[], object]] = field(default_factory=dict)
    _ended: dict[Key, None] = field(default_factory=dict)  # in the order in which they ended

    @contextmanager
    def registered(self, key: Key, stop: Callable[[], object]) -> Iterator[None]:
        """Let `stop` be called when the key ends while the block runs."""
        self._stops[key] = stop
        try:
            yield
        finally:
            del self._stops[key]

    def ended(self, key: Key) -> bool:
        """Return whether the key has ended, as far as is remembered."""
        return key in self._ended

    def end(self, key: Key) -> None:
        """Stop the work under the key, if there is any, and let none begin."""
        self._ended[key] = None
        while len(self._ended) > MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        stop = self._stops.get(key)
        if stop is not None:
            stop()
