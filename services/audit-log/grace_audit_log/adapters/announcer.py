"""Telling the others on grace.ledger.v1, through the runtime's producer."""

from collections.abc import Sequence
from typing import Final

from grace_common.contract import topics
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.seal import Outgoing

_AT_ONCE: Final = 32  # envelopes of up to 48 KiB in flight


class KafkaAnnouncer:
    """Implements `Announcer`. No outbox: what is told here can be told again from the ledger itself."""

    def __init__(self, producer: SealedProducer) -> None:
        self._producer = producer

    async def announce(self, values: Sequence[bytes]) -> None:
        for start in range(0, len(values), _AT_ONCE):
            await self._producer.send(
                [Outgoing(topics.LEDGER.name, b"log", value) for value in values[start : start + _AT_ONCE]]
            )
