"""The entries committed last, at hand for the publication that follows, which need not read them back then."""

from collections.abc import Sequence
from typing import Final

from grace_audit_log.domain.entry import Entry, Place
from grace_audit_log.ports import Entries

MOST: Final = 4_096  # entries kept, about 10 MiB


class RecentEntries:
    """Implements `Entries`: from memory what was committed last, all else from where it is stored."""

    def __init__(self, stored: Entries, most: int = MOST) -> None:
        self._stored = stored
        self._most = most
        self._first = 0
        self._kept: list[Entry] = []

    def add(self, first: int, entries: Sequence[Entry]) -> None:
        """Keep entries that were committed just now, of which the first has index `first`."""
        if first != self._first + len(self._kept):  # others have written in between
            self._first, self._kept = first, []
        self._kept += entries
        surplus = max(0, len(self._kept) - self._most)
        self._first += surplus
        del self._kept[:surplus]

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        kept = self._between(start, end)
        return await self._stored.leaves(start, end) if kept is None else [entry.leaf for entry in kept]

    async def places(self, start: int, end: int) -> Sequence[Place]:
        kept = self._between(start, end)
        if kept is None:
            return await self._stored.places(start, end)
        return [entry.at(index) for index, entry in enumerate(kept, start)]

    def _between(self, start: int, end: int) -> Sequence[Entry] | None:
        if start < self._first or end > self._first + len(self._kept):
            return None
        return self._kept[start - self._first : end - self._first]
