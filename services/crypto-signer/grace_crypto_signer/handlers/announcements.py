"""Hearing `grace.ledger.v1`: whoever listens in this service hears each batch."""

from collections.abc import Sequence

from grace_common.runtime.seal import SealedRecord
from grace_common.runtime.stream import RecordHandler


class Announcements:
    """Handler of the one stream of what the audit-log tells."""

    def __init__(self, *listeners: RecordHandler) -> None:
        self._listeners = listeners

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Return when everybody has heard these records."""
        for listener in self._listeners:
            await listener.handle(records)
