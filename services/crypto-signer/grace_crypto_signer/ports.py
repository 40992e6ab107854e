"""What the crypto-signer needs of the outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.clock import Clock

from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import Keyring


class Certificates(Protocol):
    """Every certificate that the CA issued."""

    async def find(self, key_id: str) -> CertificateIssued | None:
        """Return what is stated of a key; None when the CA never certified it."""
        ...

    async def keep(self, stated: CertificateIssued) -> None:
        """Remember what is stated of a key, in the open transaction."""
        ...

    async def holding(self, at: datetime) -> Sequence[CertificateIssued]:
        """Return what is stated of every key whose certificate has not ended, those of services first."""
        ...


class Epochs(Protocol):
    """The seeds of operation keys."""

    async def load(self) -> Keyring:
        """Return every epoch; raises Refused when there is none, or one cannot be opened."""
        ...


class Producer(Protocol):
    """Topics that only this service writes, without an outbox: what goes there can be derived again."""

    async def sign(self, values: Sequence[bytes]) -> None:
        """Produce to grace.signature.v1, in order; returns when the broker has acknowledged all."""
        ...

    async def identify(self, stated: Sequence[CertificateIssued]) -> None:
        """Produce to grace.identity.v1, in order; returns when the broker has acknowledged all."""
        ...


@dataclass(frozen=True)
class Ports:
    """For the event handlers. `own_key_id` is that of this service's workload key."""

    authority: Authority
    certificates: Certificates
    clock: Clock
    own_key_id: str
