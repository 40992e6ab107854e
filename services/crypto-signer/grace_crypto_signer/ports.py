"""What the crypto-signer needs of the outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from grace_common.contract.envelope import Envelope
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.clock import Clock
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.witness import Seen, SignedTree

from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import Epoch, Keyring, Level, Use
from grace_crypto_signer.domain.notary import OwnKeys


class Kek(Protocol):
    """The key-encryption key, under which everything secret is stored.

    Built: a key in this process, out of files sealed by a passphrase and to the root (`adapters/key_files.py`). A
    PKCS#11 token or a cloud's KMS fits in here too, as both seal with associated data.
    """

    @property
    def id(self) -> str:
        """Name the key in what it sealed."""
        ...

    def seal(self, secret: bytes, what: str) -> tuple[bytes, bytes]:
        """Return nonce and ciphertext; `what` and the key's id are associated data."""
        ...

    def open(self, nonce: bytes, sealed: bytes, what: str) -> bytes:
        """Return the secret; raises Refused when it was sealed as something else, by another key, or was changed."""
        ...

    def under(self, id_: str) -> "Kek | None":
        """Return this key or, while it is being replaced, the one before; None for any other id."""
        ...


@dataclass(frozen=True, slots=True)
class SealedEpoch:
    """An epoch as it is stored: its seed under a key-encryption key."""

    number: int
    not_before: datetime
    kek_id: str
    nonce: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EpochUse:
    """How far the newest epoch is used: since when (its beginning, or its making where that was later), how often."""

    number: int
    since: datetime
    operations: int


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

    async def use(self, operations: int) -> EpochUse:
        """Add to the count of operations that have keys of the newest epoch; return how far it is used."""
        ...

    async def rotate(self, now: datetime) -> Epoch:
        """Make the next epoch, from which events are signed in two minutes; return it."""
        ...


class Keys(Protocol):
    """The signer's own keys, as they are now: commands change them while it runs."""

    def authority(self) -> Authority:
        """Return the CA that certifies; raises Unready when another one does by now whose key does not open."""
        ...

    def own(self) -> OwnKeys:
        """Return the keys to sign with; raises Refused when they do not open."""
        ...

    def renew(self, now: datetime) -> None:
        """Replace what policy says has done enough, and state in the directory what changed, where the root is here."""
        ...

    def directories(self) -> Sequence[bytes]:
        """Return every version of the public key directory, signed, the first one first."""
        ...


class Uses(Protocol):
    """How often keys are used."""

    def count(self, key_id: str, times: int = 1) -> None:
        """Count uses of a key by its id; what is counted is written down with the next look, and lost in a crash."""
        ...

    def write_down(self) -> None:
        """Write down what was counted; raises Unready, and then it is still to be written."""
        ...


class Rotation(Protocol):
    """The keys above the notary's, the services' own, and which of them this process can replace by itself."""

    def used(self) -> Mapping[Level, Use]:
        """Return how far the key of each level is used, but the epoch's; raises Refused when a file is damaged."""
        ...

    def command(self, level: Level) -> str | None:
        """Return by which command people replace the key of a level; None where this process does it by itself."""
        ...

    async def finish(self, now: datetime) -> Sequence[str]:
        """Go on with what was cut short, and do what is left to do after a while; return what was done.

        raises  Refused, and Unready while a command changes the keys
        """
        ...

    async def replace(self, level: Level, now: datetime) -> str:
        """Replace the key of a level that needs no people; return the new one's id; raises as `finish` does."""
        ...


class LogDirectory(Protocol):
    """What the key directory says of the log's keys, where the audit-log proposes a change of them.

    The root signs it where it is kept here; where people hold it, what they have to do is kept for them. A change that
    was made before, or is of keys of long ago, is passed over. Raises Unready while another one changes the keys.
    """

    def succeed_log(self, leading: VerifierKey, successor: VerifierKey, now: datetime) -> None:
        """List a successor beside the key that leads; raises Refused for one that ended."""
        ...

    def retire_log(
        self, leading: VerifierKey, older: VerifierKey, witnessed: VerifierKey | None, now: datetime
    ) -> None:
        """End the older key of two; raises Unready until the witness goes by the one that leads (`witnessed`)."""
        ...


class Producer(Protocol):
    """Topics that only this service writes, without an outbox: what goes there can be derived again."""

    async def sign(self, values: Sequence[bytes]) -> None:
        """Produce to grace.signature.v1, in order; returns when the broker has acknowledged all."""
        ...

    async def identify(self, stated: Sequence[CertificateIssued]) -> None:
        """Produce to grace.identity.v1, in order; returns when the broker has acknowledged all."""
        ...

    async def cosign(self, cosigned: Envelope) -> None:
        """Produce to grace.witness.v1; returns when the broker has acknowledged it."""
        ...


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What the witness knows of one log: the key it trusts, and the newest tree that it cosigned."""

    log_key: VerifierKey
    tree: Seen


class WitnessMemory(Protocol):
    """What the witness must never forget."""

    async def newest(self, origin: str) -> Witnessed | None:
        """Return what is known of a log; None before its first checkpoint was cosigned."""
        ...

    async def keep(self, before: Witnessed, tree: SignedTree, cosigned: Note) -> None:
        """Remember a cosigned tree in place of the one before, with the key of `before`; durable when this returns.

        raises  Unready when what is remembered is no longer `before`
        """
        ...


@dataclass(frozen=True)
class Ports:
    """For the event handlers. `authority` returns the CA that certifies now, `own_key_id` this service's own key."""

    authority: Callable[[], Authority]
    certificates: Certificates
    clock: Clock
    own_key_id: Callable[[], str]
    uses: Uses
