"""Producing sealed records: an idempotent aiokafka producer that waits for every acknowledgement."""

import asyncio
import ssl
from collections.abc import Awaitable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from grace_common.runtime.seal import Headers, Outgoing, Sealer
from grace_common.runtime.settings import Settings

_partitioner: Final = DefaultPartitioner()


def connection(settings: Settings) -> dict[str, Any]:
    """Return the aiokafka arguments that say where the cluster is and who asks."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "client_id": settings.service,
        "retry_backoff_ms": 200,
        "request_timeout_ms": 20_000,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        arguments |= {"security_protocol": "SSL", "ssl_context": ssl.create_default_context()}
    if settings.kafka_username is not None and settings.kafka_password is not None:
        arguments |= {
            "security_protocol": settings.kafka_security_protocol,
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return arguments


class SealedProducer:
    """Seals and sends; a send returns when the broker has acknowledged every record.

    Records go as whole batches, one and then the next for each partition: aiokafka's own batching makes a future for
    each record, which costs more than sealing it. A failed producer cannot be used again (its idempotence state is
    lost), so the next send makes a new one.
    """

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings = settings
        self._sealer = sealer
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._sending = asyncio.Lock()  # what two callers send must not be interleaved: keys keep their order

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Send records in order, sealed together. Raises aiokafka's errors; then none or some of them have arrived."""
        producer = await self._started()
        headers = self._sealer.seal_batch(records)
        try:
            async with self._sending:
                acknowledged = await self._submit(producer, zip(records, headers, strict=True))
            await asyncio.gather(*acknowledged)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _submit(
        self, producer: AIOKafkaProducer, sealed: Iterable[tuple[Outgoing, Headers]]
    ) -> list[Awaitable[object]]:
        """Hand the records over in batches; return what tells of each batch's acknowledgement."""
        open_: dict[tuple[str, int], BatchBuilder] = {}
        acknowledged: list[Awaitable[object]] = []

        async def submit(place: tuple[str, int]) -> None:
            batch = open_.pop(place)
            batch.close()  # so that it goes at once
            acknowledged.append(await producer.send_batch(batch, place[0], partition=place[1]))

        for record, headers in sealed:
            partitions = await producer.partitions_for(record.topic)
            place = (record.topic, partition_of(record.key, len(partitions)))
            if place not in open_:
                open_[place] = producer.create_batch()
            if open_[place].append(key=record.key, value=record.value, timestamp=None, headers=headers) is None:
                await submit(place)  # it is full
                open_[place] = producer.create_batch()
                open_[place].append(key=record.key, value=record.value, timestamp=None, headers=headers)
        for place in list(open_):
            await submit(place)
        return acknowledged

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **connection(self._settings),
                    enable_idempotence=True,
                    acks="all",
                    compression_type=self._settings.kafka_compression,
                    max_batch_size=512 * 1024,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer


@lru_cache(maxsize=16_384)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key as Kafka's own clients choose it: murmur2, as any producer outside does."""
    chosen: int = _partitioner(key, range(partitions), [])
    return chosen
