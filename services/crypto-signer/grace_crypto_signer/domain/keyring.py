"""Operation keys: each operation has an Ed25519 key of its own, derived from the seed of its epoch, never stored."""

import hmac
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract.errors import Refused
from grace_common.transparency.statement import key_id

SEED_BYTES: Final = 32
OPERATION_INFO: Final = b"grace/operation/v1|ed25519"

Level: TypeAlias = Literal["epoch", "notary", "attestation", "witness", "kek", "ca", "root", "workload"]
Reason: TypeAlias = Literal["age", "count"]


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
        """Return the key of one operation: Ed25519 from HKDF-SHA-256, salted with the operation's id."""
        return SigningKey.of(Ed25519PrivateKey.from_private_bytes(derived(self.seed, operation.bytes, OPERATION_INFO)))


def derived(seed: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA-256 (RFC 5869, one block of expand), at a third of the library's cost."""
    return hmac.digest(hmac.digest(salt, seed, "sha256"), info + b"\x01", "sha256")


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
class Use:
    """How far a key is used: since when, how often."""

    since: datetime
    times: int


@dataclass(frozen=True, slots=True)
class Limit:
    """How long and how often a key is used, at the most; None: without end."""

    age: timedelta | None = None
    times: int | None = None

    def spent(self, use: Use, now: datetime) -> Reason | None:
        """Return by what a key has done enough; None while it has not, or has yet to begin."""
        if use.since > now:
            return None
        if self.times is not None and use.times >= self.times:
            return "count"
        return "age" if self.age is not None and now - use.since >= self.age else None


@dataclass(frozen=True)
class RotationPolicy:
    """When a key has done enough, for each level that has a limit. What is counted:

    epoch        operations that have keys of it
    notary       operations' keys that it announced
    attestation  statements that it signed
    witness      checkpoints that it cosigned
    kek          seals that it made. Each has a nonce of 96 random bits, of which one key may use 2^32 (NIST SP 800-38D,
                 section 8.3); what was sealed anew counts again, as its nonce does
    ca           certificates that it issued, but those of another CA that it certified again
    root         versions of the key directory that it signed
    workload     records that it sealed, as the notary read them
    """

    limits: Mapping[Level, Limit]

    def due(self, level: Level, use: Use, now: datetime) -> Reason | None:
        """Return by what the next key of a level is due; None while it is not."""
        limit = self.limits.get(level)
        return None if limit is None else limit.spent(use, now)
