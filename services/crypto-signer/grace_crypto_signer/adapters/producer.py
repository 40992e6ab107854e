"""Producing to the topics that need no outbox."""

from collections.abc import Sequence

from grace_common.contract import topics
from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.seal import Outgoing

from grace_crypto_signer.domain.certificate import identified


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

    async def cosign(self, cosigned: Envelope) -> None:
        await self._producer.send([Outgoing(topics.WITNESS.name, cosigned.key, encode(cosigned))])
