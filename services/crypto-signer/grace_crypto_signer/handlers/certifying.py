"""Certificates of outside producers, and revocation of any key."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.router import EventRouter, Work

from grace_crypto_signer.domain.certificate import stated
from grace_crypto_signer.ports import Certificates, Ports, Producer

router: EventRouter[Ports] = EventRouter(topics.CRYPTO_SIGNER)
_log = structlog.get_logger(__name__)


@router.on(ProducerEnrolled, emits=(CertificateIssued,))
async def certify(event: ProducerEnrolled, ports: Ports, work: Work) -> list[CertificateIssued]:
    """Certify the public key that an operator enrolled; its roles say what its requests may do."""
    subject = f"{topics.OUTSIDE}/{event.name}"
    public_key = _public_key(event.public_key)
    authority = ports.authority()
    certificate = authority.issue(
        # The serial derives from the event: handled again, it is the same certificate and not a second one.
        subject,
        public_key,
        serial=work.envelope.id.int,
        now=ports.clock.now(),
        until=event.valid_until,
    )
    issued = stated(certificate, subject, event.roles)
    known = await ports.certificates.find(issued.key_id)
    if known is not None and (known.subject != subject or known.revoked_at is not None):
        raise Refused(f"key {issued.key_id} is {'revoked' if known.revoked_at else known.subject}: enrol another key")
    await ports.certificates.keep(issued)
    ports.uses.count(authority.key_id)
    work.note(key_id=issued.key_id, subject=subject)
    return [issued]


@router.on(KeyRevocationRequested, emits=(CertificateIssued,))
async def revoke(event: KeyRevocationRequested, ports: Ports, work: Work) -> list[CertificateIssued]:
    """Withdraw a key: what it seals from now on is refused by everybody."""
    known = await ports.certificates.find(event.key_id)
    if known is None:
        raise Refused(f"no key {event.key_id} was ever certified")
    if event.key_id == ports.own_key_id():
        raise Refused("this key seals the revocation itself: issue the crypto-signer a new one first, then revoke it")
    if known.revoked_at is not None:
        return []
    revoked = known.model_copy(update={"revoked_at": ports.clock.now(), "reason": event.reason})
    await ports.certificates.keep(revoked)
    work.note(key_id=event.key_id, subject=known.subject)
    return [revoked]


class Restating:
    """States every certificate that holds: at the start, when a broker has lost them, and every now and then.

    lost  set by whoever finds that the broker has lost them; nobody else can check a record until they are back
    """

    def __init__(
        self, certificates: Certificates, producer: Producer, clock: Clock, lost: asyncio.Event, *, every_s: float
    ) -> None:
        self._certificates = certificates
        self._producer = producer
        self._clock = clock
        self._lost = lost
        self._every_s = every_s

    async def run(self) -> None:
        """Restate until cancelled; an outage is waited out."""
        while True:
            self._lost.clear()
            try:
                await self.restate()
                pause_s = self._every_s
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("certificates_wait", missing=describe_outage(error))
                pause_s = min(1.0, self._every_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), pause_s)

    async def restate(self) -> None:
        """State what holds now, those of services first.

        What changes meanwhile is stated too: else a revocation that reached the topic between the reading here and the
        sending would be followed by the certificate as it was before, and that would be the last word.
        """
        known: Sequence[CertificateIssued] = ()
        while stated := [one for one in await self._certificates.holding(self._clock.now()) if one not in known]:
            await self._producer.identify(stated)
            known = [*known, *stated]


def _public_key(raw: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(f"the public key is no Ed25519 key: {error}") from error
