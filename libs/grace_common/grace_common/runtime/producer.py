"""Producing sealed records: an idempotent aiokafka producer that waits for every acknowledgement."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from grace_common.runtime.seal import Outgoing, Sealer
from grace_common.runtime.settings import Settings


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

    A failed producer cannot be used again (its idempotence state is lost), so the next send makes a new one.
    """

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings = settings
        self._sealer = sealer
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Send records in order, sealed together. Raises aiokafka's errors; then none or some of them have arrived."""
        producer = await self._started()
        headers = self._sealer.seal_batch(records)
        try:
            acknowledgements = [
                await producer.send(record.topic, value=record.value, key=record.key, headers=sealed)
                for record, sealed in zip(records, headers, strict=True)
            ]
            await asyncio.gather(*acknowledgements)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **connection(self._settings),
                    enable_idempotence=True,
                    acks="all",
                    compression_type="lz4",
                    linger_ms=2,
                    max_batch_size=512 * 1024,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer
