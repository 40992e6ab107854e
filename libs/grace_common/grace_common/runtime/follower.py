"""Following `grace.identity.v1` from its beginning, so that every seal can be checked."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.runtime.identity import Directory
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.producer import connection
from grace_common.runtime.settings import Settings

_log = structlog.get_logger(__name__)
_PARTITION = TopicPartition(topics.IDENTITY.name, 0)


class IdentityFollower:
    """Keeps a directory of certified keys up to date; reads without a consumer group, always from the beginning."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self._settings = settings
        self.directory = directory
        self._position = 0
        self._moved = asyncio.Condition()
        self._consumer: AIOKafkaConsumer | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; after an outage of the broker the topic is read again from its beginning."""
        while True:
            consumer = AIOKafkaConsumer(
                **connection(self._settings),
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                fetch_max_wait_ms=200,
            )
            try:
                await consumer.start()
                consumer.assign([_PARTITION])
                await consumer.seek_to_beginning(_PARTITION)
                self._consumer = consumer
                self._connected.set()
                await self._follow(consumer)
            except (KafkaError, OSError) as error:
                if not is_outage(error):
                    raise
                _log.warning("identity_waits", missing=describe_outage(error))
                await asyncio.sleep(1)
            finally:
                self._connected.clear()
                self._consumer = None
                await consumer.stop()

    async def catch_up(self) -> None:
        """Return when everything that stands on the topic now has been learned."""
        await self._connected.wait()
        if self._consumer is None:
            raise KafkaConnectionError("the broker was lost while catching up")
        end = (await self._consumer.end_offsets([_PARTITION]))[_PARTITION]
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= end)

    async def reach(self) -> None:
        """Return when the broker has answered; raise KafkaError while it is lost."""
        if self._consumer is None:
            raise KafkaConnectionError("there is no connection")
        await self._consumer.end_offsets([_PARTITION])

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(_PARTITION, timeout_ms=200)
            for record in batches.get(_PARTITION, []):
                if record.value is None:
                    continue  # a compaction marker: nobody deletes certificates, and none is forgotten here
                try:
                    self.directory.learn(record.key or b"", record.value, dict(record.headers))
                except Refused as error:
                    _log.warning("certificate_refused", offset=record.offset, reason=str(error))
            async with self._moved:
                self._position = await consumer.position(_PARTITION)
                self._moved.notify_all()
