"""Keys from fixed seeds, and envelopes around facts, for the tests of this service."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract import envelope
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.signature import EntriesNotarized, NotarizedEntry
from grace_crypto_signer.domain.keyring import Epoch, Keyring, SigningKey
from grace_crypto_signer.domain.notary import OwnKeys

TIME = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVENT = UUID("019ac000-0000-7000-8000-000000000009")
OPERATION = UUID("019ac000-0000-7000-8000-000000000004")


def private_key(word: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(word.encode()).digest())


OWN = OwnKeys(
    authority=SigningKey.of(private_key("ca")),
    notary=SigningKey.of(private_key("notary")),
    attestation=SigningKey.of(private_key("attestation")),
    since=datetime(2026, 11, 1, tzinfo=UTC),
)
FIRST = Epoch(1, datetime(1970, 1, 1, tzinfo=UTC), sha256(b"first").digest())
SECOND = Epoch(2, datetime(2027, 1, 1, tzinfo=UTC), sha256(b"second").digest())
KEYRING = Keyring([FIRST, SECOND])


@dataclass
class MemoryUses:
    """Implements `Uses`; another one changes the folder as often as told."""

    waiting: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    busy: int = 0

    def count(self, key_id: str, times: int = 1) -> None:
        self.waiting[key_id] += times

    def write_down(self) -> None:
        if self.busy:
            self.busy -= 1
            raise Unready("another one changes the folder")
        self.written.update(self.waiting)
        self.waiting.clear()


@dataclass
class Stated:
    """A fact in an envelope, as a service's outbox would hold it."""

    event: Event
    id: UUID = EVENT
    time: datetime = TIME
    causation: UUID | None = None
    operation: UUID = OPERATION
    actor: str = "ada"
    value: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.value = envelope.encode(
            Envelope(
                id=self.id,
                source="/grace/gateway",
                time=self.time,
                correlation=self.event.partition_key,
                causation=self.causation,
                operation=self.operation,
                actor=self.actor,
                traceparent=None,
                event=self.event,
            )
        )

    @property
    def topic(self) -> str:
        return self.event.TOPIC.name

    @property
    def key(self) -> bytes:
        return self.event.partition_key.encode()


def entries_of(values: Iterable[bytes]) -> list[NotarizedEntry]:
    """Return what records of the signature topic state, as the contract opens them."""
    events = [envelope.open(value).event for value in values]
    return [entry for event in events if isinstance(event, EntriesNotarized) for entry in event.entries]
