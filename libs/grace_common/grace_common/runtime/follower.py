"""Following `grace.identity.v1` from its beginning, so that every seal can be checked, and revocations in time.

A revoked key must be refused by everybody within a second, so knowing a topic "lately" is not enough: the follower
remembers the moment as of which it knows everything that stands there, and a record is checked only while that moment
is at most MOST_LAG_S ago. The moment comes before the question for the topic's end, so a slow answer, a lost broker or
a process that was held makes it older than it is and never younger. Records pay one look at the clock, no request.

A broker that lost its data has an empty topic until the crypto-signer states all certificates again. Whoever believed
it then would refuse good records, so nothing counts as known before this process's own certificate is.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.runtime.identity import Directory
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.producer import connection
from grace_common.runtime.settings import Settings

MOST_LAG_S: Final = 0.5
_ASK_EVERY_S: Final = 0.3  # so that a record hardly ever waits
_log = structlog.get_logger(__name__)
_PARTITION = TopicPartition(topics.IDENTITY.name, 0)


class IdentityFollower:
    """Keeps a directory of certified keys up to date; reads without a consumer group, always from the beginning.

    own      the id of this process's own key
    emptied  set when the topic has lost records: it was made anew, on a broker that lost its data
    """

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        seconds: Callable[[], float] = monotonic,
        *,
        own: str | None = None,
        emptied: asyncio.Event | None = None,
    ) -> None:
        self._settings = settings
        self.directory = directory
        self._seconds = seconds
        self._own = own
        self._emptied = emptied or asyncio.Event()
        self._end = 0  # of the topic, as it was last seen
        self._known_as_of = -math.inf
        self._moved = asyncio.Condition()
        self._asked = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def lags(self) -> bool:
        """Whether a certificate or a revocation of more than MOST_LAG_S ago may still be unknown here."""
        return self._seconds() - self._known_as_of > MOST_LAG_S

    async def run(self) -> None:
        """Follow until cancelled; after an outage of the broker the topic is read again from its beginning."""
        while True:
            consumer = AIOKafkaConsumer(
                **connection(self._settings),
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                fetch_max_wait_ms=10,  # a longer wait would hold up the question for the topic's end behind it
            )
            try:
                await consumer.start()
                consumer.assign([_PARTITION])
                consumer.pause(_PARTITION)
                await consumer.seek_to_beginning(_PARTITION)
                self._consumer = consumer
                await self._follow(consumer)
            except (KafkaError, OSError) as error:
                if not is_outage(error):
                    raise
                _log.warning("identity_waits", missing=describe_outage(error))
                await asyncio.sleep(1)
            finally:
                self._consumer = None
                await consumer.stop()

    async def catch_up(self) -> None:
        """Return when everything that stands on the topic now has been learned; a lost broker is waited for."""
        since = self._seconds()
        self._asked.set()
        async with self._moved:
            await self._moved.wait_for(lambda: self._known_as_of >= since)

    async def reach(self) -> None:
        """Return when the broker has answered; raise KafkaError while it is lost."""
        if self._consumer is None:
            raise KafkaConnectionError("there is no connection")
        await self._consumer.end_offsets([_PARTITION])

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            self._asked.clear()
            since = self._seconds()
            end = (await consumer.end_offsets([_PARTITION]))[_PARTITION]
            if end < self._end:
                _log.warning("identity_emptied", end=end, was=self._end)
                self._emptied.set()
                await consumer.seek_to_beginning(_PARTITION)
            self._end = end
            self.directory.look()  # a CA's end counts as soon as a revocation does
            if await consumer.position(_PARTITION) < end:
                await self._learn(consumer, end)
            if self._own is None or self._own in self.directory.keys:
                async with self._moved:
                    self._known_as_of = since
                    self._moved.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _ASK_EVERY_S)

    async def _learn(self, consumer: AIOKafkaConsumer, end: int) -> None:
        """Learn everything before `end`; else the partition is paused, so that nothing is asked for in vain."""
        consumer.resume(_PARTITION)
        while await consumer.position(_PARTITION) < end:
            for record in (await consumer.getmany(_PARTITION, timeout_ms=200)).get(_PARTITION, []):
                if record.value is None:
                    continue  # a compaction marker: nobody deletes certificates, and none is forgotten here
                headers = {name: content or b"" for name, content in record.headers}
                taken = datetime.fromtimestamp(record.timestamp / 1000, UTC)
                try:
                    self.directory.learn(record.key or b"", record.value, headers, taken)
                except Refused as error:
                    _log.warning("certificate_refused", offset=record.offset, reason=str(error))
        consumer.pause(_PARTITION)
