"""Which tasks are being worked on, so that a cancellation can reach them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass
class Running(Generic[Key]):
    """Work in progress by key, each with the function that stops it."""

    _stops: dict[Key, Callable[[], object]] = field(default_factory=dict)

    @contextmanager
    def registered(self, key: Key, stop: Callable[[], object]) -> Iterator[None]:
        self._stops[key] = stop
        try:
            yield
        finally:
            self._stops.pop(key, None)

    def stop(self, key: Key) -> bool:
        """Stop the work under `key`; return whether there was any."""
        stop = self._stops.get(key)
        if stop is not None:
            stop()
        return stop is not None
