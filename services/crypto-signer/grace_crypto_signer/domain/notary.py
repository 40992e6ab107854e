"""The notary: of every envelope a signed statement, the same bytes however often it is asked.

Nothing here but the input decides the output: keys are derived, Ed25519 is deterministic, ids derive, times are the
event's own. So a fact notarised twice is one entry, and the notary needs no outbox.
"""

from base64 import urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from grace_common.contract import topics
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event, answer_id
from grace_common.contract.events.signature import (
    ArtifactAttested,
    EnvelopeNotarized,
    KeyDirectoryPublished,
    NotaryKeyPublished,
    OperationKeyGenerated,
)
from grace_common.transparency.attestation import sign_attestation
from grace_common.transparency.directory import KeyDirectory, digest_of
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.statement import (
    OperationKey,
    PublishedKey,
    Purpose,
    Statement,
    key_id,
    sign_statement,
)

from grace_crypto_signer.domain.attestation import attestations_of
from grace_crypto_signer.domain.keyring import Epoch, Keyring, SigningKey

KEY_ENTRY: Final = "cryptographic_key_generated"  # entry type of an operation's key
REMEMBERED: Final = 20_000  # operations whose keys are kept at hand
_SOURCE: Final = f"/grace/{topics.CRYPTO_SIGNER}"
_SUBJECTS: Final = (  # the member of an event's data that says what it is about, the most telling first
    ("task_id", "task"),
    ("evaluation_id", "evaluation"),
    ("decision_id", "decision"),
    ("operation_id", "operation"),
    ("refusal_id", "refusal"),
)


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The signer's own keys, all but the CA's under its signature; `since` is when they were made."""

    authority: SigningKey
    notary: SigningKey
    attestation: SigningKey
    since: datetime


class Fact(NamedTuple):
    """The attributes of an envelope that its statement repeats, as text and parsed."""

    id: UUID
    type: str
    time: str
    correlation: str
    causation: str | None
    operation: UUID
    actor: str
    traceparent: str | None
    data: dict[str, Any]
    moment: datetime


class Notary:
    """Turns records into the values of records of `grace.signature.v1`."""

    def __init__(self, keyring: Keyring, own: OwnKeys, *, remembered: int = REMEMBERED) -> None:
        self.keyring = keyring
        self.own = own
        self.derived = 0  # operation keys made so far
        self._remembered = remembered
        self._operations: OrderedDict[tuple[UUID, int], SigningKey] = OrderedDict()

    def key_entries(self) -> list[bytes]:
        """Return the entries that publish the signer's own keys; they stand before all that these keys signed."""
        return [
            self._publish(self.own.notary, "notary"),
            self._publish(self.own.attestation, "attestation"),
        ]

    def directory_entries(self, signed: bytes) -> list[bytes]:
        """Return the entries of one version of the key directory: its operation's key, and its digest, signed.

        signed  the directory's envelope, exactly as the root signed it
        raises  Refused when it is no key directory
        """
        directory = KeyDirectory.parse(DsseEnvelope.parse(signed).payload)
        digest = digest_of(signed)
        operation = uuid5(NAMESPACE_URL, f"grace-key-directory:{digest}")
        fact = _own_fact(KeyDirectoryPublished.TYPE, operation, directory.issued)
        epoch = self.keyring.epoch_at(fact.moment)
        signing = epoch.operation_key(operation)
        statement = _own_statement(fact, fact.id, fact.type, "key-directory", str(directory.version), digest=digest)
        published = _record(
            KeyDirectoryPublished,
            fact.id,
            fact,
            entry_id=fact.id,
            leaf=sign_statement(statement, signing.key_id, signing.sign),
            entry_type=fact.type,
            more={"version": directory.version, "root_id": key_id(directory.root), "payload": _text(signed)},
        )
        return [self._announce(signing, epoch, fact), published]

    def notarize(
        self, topic: str, key: bytes, value: bytes, service: str, sealed_with: str | None = None
    ) -> list[bytes]:
        """Return the entries of one record: its operation's key at first sight, its statement, its attestations.

        topic, key, value  of the record, exactly as read
        service            whose seal it carries
        sealed_with        id of the key that the seal was made with
        raises             Refused when the value is no envelope
        """
        fact = read_fact(value)
        place = _text_key(key)
        epoch = self.keyring.epoch_at(fact.moment)
        entries: list[bytes] = []
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
            entries.append(self._attest(leaf, fact, ordinal, attested.subjects[0].sha256))
        return entries

    def _remember(self, operation: UUID, epoch: Epoch) -> SigningKey:
        signing = epoch.operation_key(operation)
        self.derived += 1
        self._operations[operation, epoch.number] = signing
        if len(self._operations) > self._remembered:
            self._operations.popitem(last=False)
        return signing

    def _state(
        self, signing: SigningKey, fact: Fact, topic: str, key: str, value: bytes, service: str, sealed_with: str | None
    ) -> bytes:
        subject_type, subject = _subject(fact, topic, key)
        statement = Statement(
            id=str(fact.id),
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
            operation_id=str(fact.operation),
            digest=sha256(value).hexdigest(),
            sealed_with=sealed_with,
        )
        return _record(
            EnvelopeNotarized,
            answer_id(fact.id, EnvelopeNotarized.TYPE, 0),
            fact,
            entry_id=fact.id,
            leaf=sign_statement(statement, signing.key_id, signing.sign),
            entry_type=fact.type,
            actor=fact.actor,
            service=service,
            more={"payload": _text(value)},
        )

    def _announce(self, signing: SigningKey, epoch: Epoch, fact: Fact) -> bytes:
        entry_id = uuid5(fact.operation, f"key|{epoch.number}")
        statement = _own_statement(
            fact,
            entry_id,
            OperationKeyGenerated.TYPE,
            "operation",
            str(fact.operation),
            causation=fact.id,
            announced=OperationKey(signing.public_key, str(fact.operation), epoch.number),
        )
        own = self.own.notary
        return _record(
            OperationKeyGenerated,
            uuid5(fact.id, f"{OperationKeyGenerated.TYPE}#{epoch.number}"),
            fact,
            entry_id=entry_id,
            leaf=sign_statement(statement, own.key_id, own.sign),
            entry_type=KEY_ENTRY,
            more={"key_id": signing.key_id, "public_key": _text(signing.public_key), "epoch": epoch.number},
        )

    def _attest(self, leaf: bytes, fact: Fact, ordinal: int, artifact_sha256: str) -> bytes:
        entry_id = answer_id(fact.id, ArtifactAttested.TYPE, ordinal)
        return _record(
            ArtifactAttested,
            entry_id,
            fact,
            entry_id=entry_id,
            leaf=leaf,
            entry_type=ArtifactAttested.TYPE,
            more={"task_id": fact.data["task_id"], "artifact_sha256": artifact_sha256},
        )

    def _publish(self, published: SigningKey, purpose: Purpose) -> bytes:
        operation = uuid5(NAMESPACE_URL, f"grace-key:{published.key_id}")
        fact = _own_fact(NotaryKeyPublished.TYPE, operation, self.own.since.isoformat())
        announced = PublishedKey(published.public_key, purpose)
        statement = _own_statement(fact, fact.id, fact.type, "key", published.key_id, announced=announced)
        own = self.own.authority
        return _record(
            NotaryKeyPublished,
            fact.id,
            fact,
            entry_id=fact.id,
            leaf=sign_statement(statement, own.key_id, own.sign),
            entry_type=NotaryKeyPublished.TYPE,
            more={"key_id": published.key_id, "public_key": _text(published.public_key), "purpose": purpose},
        )


def read_fact(value: bytes) -> Fact:
    """Return the attributes of an envelope; the data are not validated: those who consume them do that.

    raises  Refused when the bytes are no envelope, or an attribute is not what a statement can repeat
    """
    try:
        attributes = orjson.loads(value)
        fact = Fact(
            id=UUID(attributes["id"]),
            type=attributes["type"],
            time=attributes["time"],
            correlation=attributes["correlationid"],
            causation=attributes.get("causationid"),
            operation=UUID(attributes["operationid"]),
            actor=attributes["actor"],
            traceparent=attributes.get("traceparent"),
            data=attributes["data"],
            moment=datetime.fromisoformat(attributes["time"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"the record is no envelope: {type(error).__name__}: {error}") from error
    if attributes.get("specversion") != "1.0" or not isinstance(fact.data, dict) or fact.moment.tzinfo is None:
        raise Refused("the record is no CloudEvents 1.0 envelope with an object as data and a time with its zone")
    for name, text in (("type", fact.type), ("correlationid", fact.correlation), ("actor", fact.actor)):
        # U+0000 fits no text column of a database, and an empty text says nothing.
        if not isinstance(text, str) or not text or "\0" in text:
            raise Refused(f"the envelope's {name} is not a text to be stated")
    for name, optional in (("causationid", fact.causation), ("traceparent", fact.traceparent)):
        if optional is not None and (not isinstance(optional, str) or not optional):
            raise Refused(f"the envelope's {name} is not a text to be stated")
    return fact


def _text_key(key: bytes) -> str:
    try:
        text = key.decode()
    except UnicodeDecodeError as error:
        raise Refused("the record's key is not UTF-8") from error
    if not text:
        raise Refused("the record has no key")
    return text


def _subject(fact: Fact, topic: str, key: str) -> tuple[str, str]:
    for member, kind in _SUBJECTS:
        subject = fact.data.get(member)
        if isinstance(subject, str) and subject:
            return kind, subject
    return topics.by_name(topic).noun, key


def _own_fact(type_: str, operation: UUID, time: str) -> Fact:
    """Return what the signer states of its own keys, which nothing on the bus caused."""
    return Fact(
        id=uuid5(operation, type_),
        type=type_,
        time=time,
        correlation="keys",
        causation=None,
        operation=operation,
        actor=topics.CRYPTO_SIGNER,
        traceparent=None,
        data={},
        moment=datetime.fromisoformat(time),
    )


def _own_statement(
    fact: Fact,
    entry_id: UUID,
    type_: str,
    subject_type: str,
    subject: str,
    *,
    causation: UUID | None = None,
    digest: str | None = None,
    announced: OperationKey | PublishedKey | None = None,
) -> Statement:
    """Return the statement of something that the signer itself did: it stands on no topic of the bus."""
    return Statement(
        id=str(entry_id),
        type=type_,
        service=topics.CRYPTO_SIGNER,
        actor=topics.CRYPTO_SIGNER,
        subject_type=subject_type,
        subject=subject,
        topic=None,
        key=None,
        time=fact.time,
        correlation_id=fact.correlation,
        causation_id=None if causation is None else str(causation),
        operation_id=str(fact.operation),
        digest=digest,
        announced=announced,
    )


def _record(
    event: type[Event],
    id_: UUID,
    fact: Fact,
    *,
    entry_id: UUID,
    leaf: bytes,
    entry_type: str,
    actor: str = topics.CRYPTO_SIGNER,
    service: str = topics.CRYPTO_SIGNER,
    more: dict[str, Any],
) -> bytes:
    """Return an envelope's bytes as `contract.envelope` would encode it, without the cost of its classes."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": id_,
        "source": _SOURCE,
        "type": event.TYPE,
        "time": fact.time,
        "subject": "log",
        "datacontenttype": "application/json",
        "dataschema": _SCHEMAS[event.TYPE],
        "correlationid": fact.correlation,
        "operationid": fact.operation,
        "actor": actor,
    }
    if id_ != fact.id:
        attributes["causationid"] = fact.id
    if fact.traceparent is not None:
        attributes["traceparent"] = fact.traceparent
    attributes["data"] = {
        "entry_id": entry_id,
        "leaf": _text(leaf),
        "entry_type": entry_type,
        "operation_id": fact.operation,
        "correlation": fact.correlation,
        "actor": actor,
        "service": service,
        "time": fact.time,
        **more,
    }
    return orjson.dumps(attributes)


_SCHEMAS: Final = {
    event.TYPE: f"urn:grace:schema:{event.schema_name()}"
    for event in (EnvelopeNotarized, OperationKeyGenerated, NotaryKeyPublished, KeyDirectoryPublished, ArtifactAttested)
}


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode("ascii")
