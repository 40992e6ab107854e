"""Producing to the topics that need no outbox."""

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from grace_common.contract import topics
from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.seal import Outgoing


class KafkaProducer:
    """Implements `Producer`."""

    def __init__(self, producer: SealedProducer) -> None:
        self._producer = producer

    async def sign(self, values: Sequence[bytes]) -> None:
        await self._producer.send([Outgoing(topics.SIGNATURE.name, b"log", value) for value in values])

    async def identify(self, stated: Sequence[CertificateIssued]) -> None:
        if stated:
            envelopes = [identified(one) for one in stated]
            await self._producer.send([Outgoing(topics.IDENTITY.name, one.key, encode(one)) for one in envelopes])


def identified(stated: CertificateIssued) -> Envelope:
    """Return the envelope of a certificate; its id and time derive from what it states."""
    operation = uuid5(NAMESPACE_URL, f"grace-key:{stated.key_id}")
    return Envelope(
        id=_id(operation, stated),
        source=f"/grace/{topics.CRYPTO_SIGNER}",
        time=stated.revoked_at or stated.not_before,
        correlation=stated.key_id,
        causation=None,
        operation=operation,
        actor=topics.CRYPTO_SIGNER,
        traceparent=None,
        event=stated,
    )


def _id(operation: UUID, stated: CertificateIssued) -> UUID:
    return uuid5(operation, f"{stated.TYPE}#{stated.revoked_at.isoformat() if stated.revoked_at else ''}")
