"""Operation keys: each operation has an Ed25519 key of its own, derived from the seed of its epoch, never stored."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from grace_common.contract.errors import Refused
from grace_common.transparency.statement import key_id

SEED_BYTES: Final = 32
OPERATION_INFO: Final = b"grace/operation/v1|ed25519"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs; the private half stays behind `sign`.

    public_key  32 raw bytes
    """

    key_id: str
    public_key: bytes
    sign: Callable[[bytes], bytes] = field(repr=False, compare=False)

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> "SigningKey":
        public_key = private.public_key().public_bytes_raw()
        return cls(key_id(public_key), public_key, private.sign)


@dataclass(frozen=True, slots=True)
class Epoch:
    """A seed and the time from which events are signed with keys of it."""

    number: int
    not_before: datetime
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise Refused(f"the seed of epoch {self.number} has {len(self.seed)} bytes, expected {SEED_BYTES}")

    def operation_key(self, operation: UUID) -> SigningKey:
        """Return the key of one operation: Ed25519 from HKDF-SHA-256 (RFC 5869), salted with the operation's id."""
        derive = HKDF(algorithm=SHA256(), length=32, salt=operation.bytes, info=OPERATION_INFO)
        return SigningKey.of(Ed25519PrivateKey.from_private_bytes(derive.derive(self.seed)))


class Keyring:
    """Every epoch there ever was."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        if not epochs:
            raise Refused("there is no epoch seed: run `python -m grace_crypto_signer init`")
        self._epochs = sorted(epochs, key=lambda epoch: epoch.not_before)
        self._starts = [epoch.not_before for epoch in self._epochs]

    def epoch_at(self, time: datetime) -> Epoch:
        """Return the epoch of an event's own time, so that notarising it again uses the same key."""
        return self._epochs[max(0, bisect_right(self._starts, time) - 1)]

    @property
    def epochs(self) -> Sequence[Epoch]:
        """All of them, the one that began first standing first."""
        return self._epochs

    @property
    def newest(self) -> Epoch:
        return max(self._epochs, key=lambda epoch: epoch.number)


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When a key has done enough.

    epoch_age, epoch_operations  after which the next epoch seed is made, whichever comes first
    own_age                      after which the notary's and the attestation's key are replaced
    witness_age                  after which the witness's is; None: only when people say so
    """

    epoch_age: timedelta
    epoch_operations: int
    own_age: timedelta
    witness_age: timedelta | None = None

    def epoch_is_due(self, since: datetime, operations: int, now: datetime) -> bool:
        """Tell whether the next epoch is due; not while the newest one has yet to begin."""
        return since <= now and (operations >= self.epoch_operations or now - since >= self.epoch_age)

    def own_is_due(self, purpose: str, made_at: datetime, now: datetime) -> bool:
        """Tell whether one of the signer's own keys is due: the CA's never is, that is for people to decide."""
        age = {"notary": self.own_age, "attestation": self.own_age, "witness": self.witness_age}.get(purpose)
        return age is not None and now - made_at >= age
