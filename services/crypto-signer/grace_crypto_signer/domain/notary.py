"""The notary: of every envelope a statement, signed with its operation's key, and the keys it announces for that.

Nothing here but the input decides the output: keys are derived, ids derive, times are the event's own. So a fact
notarised twice is one entry, whatever it was signed together with, and the notary needs no outbox.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from grace_common.contract import topics
from grace_common.contract.events.base import answer_id
from grace_common.contract.events.signature import (
    ArtifactAttested,
    KeyDirectoryPublished,
    NotaryKeyPublished,
    OperationKeyGenerated,
)
from grace_common.transparency.attestation import sign_attestation
from grace_common.transparency.directory import KeyDirectory, digest_of
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.statement import OperationKey, PublishedKey, Purpose, Statement

from grace_crypto_signer.domain.attestation import attestations_of
from grace_crypto_signer.domain.entry import Draft
from grace_crypto_signer.domain.fact import Fact, read_fact, subject_of, text_of
from grace_crypto_signer.domain.keyring import Epoch, Keyring, SigningKey

KEY_ENTRY: Final = "cryptographic_key_generated"  # entry type of an operation's key
REMEMBERED: Final = 20_000  # operations whose keys are kept at hand


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The signer's own keys, all but the CA's under its signature; `since` is when they were made."""

    authority: SigningKey
    notary: SigningKey
    attestation: SigningKey
    since: datetime


class Notary:
    """Turns records into drafts of the ledger's entries."""

    def __init__(self, keyring: Keyring, own: OwnKeys, *, remembered: int = REMEMBERED) -> None:
        self.keyring = keyring
        self.own = own
        self.derived = 0  # operation keys made so far
        self.signed: Counter[str] = Counter()  # statements by the id of the notary's and of the attestation's key
        self._remembered = remembered
        self._operations: OrderedDict[tuple[str, int], SigningKey] = OrderedDict()

    def key_entries(self) -> list[Draft]:
        """Return the entries that publish the signer's own keys; they stand before all that these keys signed."""
        return [
            self._publish(self.own.notary, "notary"),
            self._publish(self.own.attestation, "attestation"),
        ]

    def directory_entries(self, signed: bytes) -> list[Draft]:
        """Return the entries of one version of the key directory: its operation's key, and its digest, signed.

        signed  the directory's envelope, exactly as the root signed it
        raises  Refused when it is no key directory
        """
        directory = KeyDirectory.parse(DsseEnvelope.parse(signed).payload)
        digest = digest_of(signed)
        operation = uuid5(NAMESPACE_URL, f"grace-key-directory:{digest}")
        fact = _own_fact(KeyDirectoryPublished.TYPE, operation, directory.issued)
        epoch = self.keyring.epoch_at(fact.moment)
        signing = epoch.operation_key(UUID(fact.operation))
        statement = _own_statement(fact, fact.id, fact.type, "key-directory", str(directory.version), digest=digest)
        published = _draft(fact, fact.id, fact.type, statement, signing, payload=signed)
        return [self._announce(signing, epoch, fact), published]

    def notarize(
        self, topic: str, key: bytes, value: bytes, service: str, sealed_with: str | None = None
    ) -> Sequence[Draft]:
        """Return the entries of one record: its operation's key at first sight, its statement, its attestations.

        topic, key, value  of the record, exactly as read
        service            whose seal it carries
        sealed_with        id of the key that the seal was made with
        raises             Refused when the value is no envelope
        """
        fact = read_fact(value)
        place = text_of(key)
        epoch = self.keyring.epoch_at(fact.moment)
        entries: list[Draft] = []
        signing = self._operations.get((fact.operation, epoch.number))
        if signing is None:
            signing = self._remember(fact.operation, epoch)
            entries.append(self._announce(signing, epoch, fact))
        else:
            self._operations.move_to_end((fact.operation, epoch.number))
        entries.append(self._state(signing, fact, topic, place, value, service, sealed_with))
        attestations = attestations_of(fact.type, fact.data, cause=fact.causation, time=fact.time)
        for ordinal, attested in attestations.items():
            own = self.own.attestation
            leaf = sign_attestation(attested, own.key_id, own.sign).encode()
            self.signed[own.key_id] += 1
            entry_id = answer_id(UUID(fact.id), ArtifactAttested.TYPE, ordinal)
            entries.append(_draft(fact, str(entry_id), ArtifactAttested.TYPE, leaf=leaf))
        return entries

    def _remember(self, operation: str, epoch: Epoch) -> SigningKey:
        signing = epoch.operation_key(UUID(operation))
        self.derived += 1
        self._operations[operation, epoch.number] = signing
        if len(self._operations) > self._remembered:
            self._operations.popitem(last=False)
        return signing

    def _state(
        self, signing: SigningKey, fact: Fact, topic: str, key: str, value: bytes, service: str, sealed_with: str | None
    ) -> Draft:
        subject_type, subject = subject_of(fact, topic, key)
        statement = Statement(
            id=fact.id,
            type=fact.type,
            service=service,
            actor=fact.actor,
            subject_type=subject_type,
            subject=subject,
            topic=topic,
            key=key,
            time=fact.time,
            correlation_id=fact.correlation,
            causation_id=fact.causation,
            operation_id=fact.operation,
            digest=sha256(value).hexdigest(),
            sealed_with=sealed_with,
        )
        return _draft(fact, fact.id, fact.type, statement, signing, actor=fact.actor, service=service, payload=value)

    def _announce(self, signing: SigningKey, epoch: Epoch, fact: Fact) -> Draft:
        self.signed[self.own.notary.key_id] += 1
        entry_id = str(uuid5(UUID(fact.operation), f"key|{epoch.number}"))
        statement = _own_statement(
            fact,
            entry_id,
            OperationKeyGenerated.TYPE,
            "operation",
            fact.operation,
            causation=fact.id,
            announced=OperationKey(signing.public_key, fact.operation, epoch.number),
        )
        return _draft(fact, entry_id, KEY_ENTRY, statement, self.own.notary)

    def _publish(self, published: SigningKey, purpose: Purpose) -> Draft:
        operation = uuid5(NAMESPACE_URL, f"grace-key:{published.key_id}")
        fact = _own_fact(NotaryKeyPublished.TYPE, operation, self.own.since.isoformat())
        announced = PublishedKey(published.public_key, purpose)
        statement = _own_statement(fact, fact.id, fact.type, "key", published.key_id, announced=announced)
        return _draft(fact, fact.id, fact.type, statement, self.own.authority)


def _own_fact(type_: str, operation: UUID, time: str) -> Fact:
    """Return what the signer states of its own keys, which nothing on the bus caused."""
    return Fact(
        id=str(uuid5(operation, type_)),
        type=type_,
        time=time,
        correlation="keys",
        causation=None,
        operation=str(operation),
        actor=topics.CRYPTO_SIGNER,
        data={},
        moment=datetime.fromisoformat(time),
    )


def _own_statement(
    fact: Fact,
    entry_id: str,
    type_: str,
    subject_type: str,
    subject: str,
    *,
    causation: str | None = None,
    digest: str | None = None,
    announced: OperationKey | PublishedKey | None = None,
) -> Statement:
    """Return the statement of something that the signer itself did: it stands on no topic of the bus."""
    return Statement(
        id=entry_id,
        type=type_,
        service=topics.CRYPTO_SIGNER,
        actor=topics.CRYPTO_SIGNER,
        subject_type=subject_type,
        subject=subject,
        topic=None,
        key=None,
        time=fact.time,
        correlation_id=fact.correlation,
        causation_id=causation,
        operation_id=fact.operation,
        digest=digest,
        announced=announced,
    )


def _draft(
    fact: Fact,
    entry_id: str,
    entry_type: str,
    statement: Statement | None = None,
    signing: SigningKey | None = None,
    *,
    actor: str = topics.CRYPTO_SIGNER,
    service: str = topics.CRYPTO_SIGNER,
    leaf: bytes | None = None,
    payload: bytes | None = None,
) -> Draft:
    members: dict[str, Any] = {
        "entry_id": entry_id,
        "entry_type": entry_type,
        "operation_id": fact.operation,
        "correlation": fact.correlation,
        "actor": actor,
        "service": service,
        "time": fact.time,
    }
    if leaf is not None:
        members["leaf"] = leaf.decode()
    if payload is not None:
        members["payload"] = payload.decode()
    return Draft(statement, signing, members)
