"""The ledger's statements: who, what, where, when, why and how of one fact, signed, never its content.

A leaf of the ledger is the exact bytes of a DSSE envelope. Its payload is one of these statements, or the in-toto
statement of an artifact (`attestation.py`). Three kinds of statement chain the keys: the CA publishes the notary's and
the attestation's keys, the notary announces each operation's key, and that key signs what the operation did.
The format, for those who write their own verifier: docs/ledger-format.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from grace_common.transparency.batch_signature import sign_batch, verify_batched
from grace_common.transparency.dsse import DsseEnvelope, encode_signed, pae
from grace_common.transparency.ed25519 import PUBLIC_KEY_BYTES, Sign, Verify, verify_signature
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    decode_base64,
    encode_base64,
    parse_json,
    read_number,
    read_object,
    read_optional_string,
    read_sha256,
    read_string,
)

PAYLOAD_TYPE: Final = "application/vnd.grace.statement.v1+json"
VERSION: Final = 1
OPERATION_KEY_GENERATED: Final = "grace.operation-key-generated.v1"
NOTARY_KEY_PUBLISHED: Final = "grace.notary-key-published.v1"
KEY_DIRECTORY_PUBLISHED: Final = "grace.key-directory-published.v1"

RFC_3339: Final = re.compile(  # RFC 3339, section 5.6
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)

_KEY_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)

Purpose = Literal["notary", "attestation"]


def key_id(public_key: bytes) -> str:
    """Return the id of a key: the first 16 bytes of SHA-256 of its 32 raw bytes, as 32 hexadecimal digits."""
    return sha256(public_key).digest()[:16].hex()


@dataclass(frozen=True, slots=True)
class OperationKey:
    """The key of one operation, as the notary announces it; `epoch` is the seed's that it was derived from."""

    public_key: bytes
    operation_id: str
    epoch: int

    @property
    def key_id(self) -> str:
        """Derived from the key, so that no two keys share one."""
        return key_id(self.public_key)

    def as_object(self) -> dict[str, Any]:
        """Return the statement's `key` member."""
        return {
            "key_id": self.key_id,
            "public_key": encode_base64(self.public_key),
            "operation_id": self.operation_id,
            "epoch": self.epoch,
        }


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A key of the crypto-signer itself, as the CA publishes it."""

    public_key: bytes
    purpose: Purpose

    @property
    def key_id(self) -> str:
        """Derived from the key, so that no two keys share one."""
        return key_id(self.public_key)

    def as_object(self) -> dict[str, Any]:
        """Return the statement's `key` member."""
        return {"key_id": self.key_id, "public_key": encode_base64(self.public_key), "purpose": self.purpose}


@dataclass(frozen=True, slots=True)
class Statement:
    """One fact of the ledger in the six-W form.

    id, type                      of the event
    service, actor                who: the service that stated it, and on whose behalf
    sealed_with                   who: id of the key that the record's seal was made with; None where there was no
                                  record, and in entries made before seals were named
    subject_type, subject         what it is about, such as `task` and the task's id
    topic, key                    where: the topic and partition key of the record, None where there was no record
    time                          when, RFC 3339, the text that the event itself carries
    correlation_id, causation_id  why: the task, and the event that caused this one (None for a first event)
    operation_id                  how: the operation within which it was stated
    digest                        SHA-256 of the exact value bytes of the record, as hexadecimal digits;
                                  None where the announced key is the whole content
    announced                     the key that this statement announces, None for all but the two key types
    """

    id: str
    type: str
    service: str
    actor: str
    subject_type: str
    subject: str
    topic: str | None
    key: str | None
    time: str
    correlation_id: str
    causation_id: str | None
    operation_id: str
    digest: str | None
    announced: OperationKey | PublishedKey | None = None
    sealed_with: str | None = None

    def __post_init__(self) -> None:
        expected = {OPERATION_KEY_GENERATED: OperationKey, NOTARY_KEY_PUBLISHED: PublishedKey}.get(self.type)
        if (expected is None) != (self.announced is None) or (expected and not isinstance(self.announced, expected)):
            raise Malformed(f"a statement of type {self.type} announces {type(self.announced).__name__}")
        if self.announced is None and self.digest is None:
            raise Malformed(f"a statement of type {self.type} without a digest says nothing")
        if not RFC_3339.fullmatch(self.time):
            raise Malformed(f"the statement's time {self.time!r} is not of RFC 3339")
        if self.sealed_with is not None and not _KEY_ID.fullmatch(self.sealed_with):
            raise Malformed(f"who.key_id is {self.sealed_with!r}; expected 32 lower-case hexadecimal digits")
        if isinstance(self.announced, OperationKey) and self.announced.operation_id != self.operation_id:
            raise Malformed(f"a key of operation {self.announced.operation_id} announced in {self.operation_id}")

    def encode(self) -> bytes:
        """Return the statement's exact bytes: compact JSON, members in this order."""
        members: dict[str, Any] = {
            "v": VERSION,
            "id": self.id,
            "type": self.type,
            "who": {"service": self.service, "actor": self.actor}
            if self.sealed_with is None
            else {"service": self.service, "actor": self.actor, "key_id": self.sealed_with},
            "what": {"type": self.subject_type, "subject": self.subject},
            "where": {"topic": self.topic, "key": self.key},
            "when": self.time,
            "why": {"correlation_id": self.correlation_id, "causation_id": self.causation_id},
            "how": {"operation_id": self.operation_id},
        }
        if self.digest is not None:
            members["digest"] = {"sha256": self.digest}
        if self.announced is not None:
            members["key"] = self.announced.as_object()
        return compact_json(members)

    @classmethod
    def parse(cls, payload: bytes) -> "Statement":
        """Return the statement of these JSON bytes; raises Malformed."""
        what = "the statement"
        required = ("v", "id", "type", "who", "what", "where", "when", "why", "how")
        members = read_object(parse_json(payload, what), what, required, ("digest", "key"))
        if read_number(members["v"], "the statement's version") != VERSION:
            raise Malformed(f"the statement is of version {members['v']}; this code reads version {VERSION}")
        who = read_object(members["who"], "who", ("service", "actor"), ("key_id",))
        about = read_object(members["what"], "what", ("type", "subject"))
        where = read_object(members["where"], "where", ("topic", "key"))
        why = read_object(members["why"], "why", ("correlation_id", "causation_id"))
        how = read_object(members["how"], "how", ("operation_id",))
        digest = None
        if "digest" in members:
            digest = read_sha256(read_object(members["digest"], "digest", ("sha256",))["sha256"], "the digest")
        return cls(
            id=read_string(members["id"], "id"),
            type=read_string(members["type"], "type"),
            service=read_string(who["service"], "who.service"),
            actor=read_string(who["actor"], "who.actor"),
            subject_type=read_string(about["type"], "what.type"),
            subject=read_string(about["subject"], "what.subject"),
            topic=read_optional_string(where["topic"], "where.topic"),
            key=read_optional_string(where["key"], "where.key"),
            time=read_string(members["when"], "when"),
            correlation_id=read_string(why["correlation_id"], "why.correlation_id"),
            causation_id=read_optional_string(why["causation_id"], "why.causation_id"),
            operation_id=read_string(how["operation_id"], "how.operation_id"),
            digest=digest,
            announced=_parse_key(members["key"]) if "key" in members else None,
            sealed_with=read_string(who["key_id"], "who.key_id") if "key_id" in who else None,
        )


def _parse_key(value: object) -> OperationKey | PublishedKey:
    published = isinstance(value, dict) and "purpose" in value
    rest = ("purpose",) if published else ("operation_id", "epoch")
    members = read_object(value, "key", ("key_id", "public_key", *rest))
    public_key = decode_base64(read_string(members["public_key"], "key.public_key"), "key.public_key", PUBLIC_KEY_BYTES)
    if members["key_id"] != key_id(public_key):
        raise Malformed(f"key.key_id is {members['key_id']!r}; the key's is {key_id(public_key)}")
    if not published:
        operation_id = read_string(members["operation_id"], "key.operation_id")
        return OperationKey(public_key, operation_id, read_number(members["epoch"], "key.epoch"))
    if members["purpose"] not in ("notary", "attestation"):
        raise Malformed(f"key.purpose is {members['purpose']!r}; expected notary or attestation")
    return PublishedKey(public_key, members["purpose"])


def sign_statements(statements: Sequence[Statement], signer_key_id: str, sign: Sign) -> list[bytes]:
    """Return the leaves of n ≥ 1 statements of one signer, for which its key is used once: exact DSSE envelope bytes.

    signer_key_id  `key_id` of the CA for a published key, of the notary for an operation key, else of the operation
    """
    payloads = [statement.encode() for statement in statements]
    signatures = sign_batch([pae(PAYLOAD_TYPE, payload) for payload in payloads], sign)
    return [
        encode_signed(PAYLOAD_TYPE, payload, signer_key_id, signature)
        for payload, signature in zip(payloads, signatures, strict=True)
    ]


def verifier_of(envelope: DsseEnvelope) -> Verify:
    """Return how a leaf's signature is verified: that of a statement may have been made with those of others."""
    return verify_batched if envelope.payload_type == PAYLOAD_TYPE else verify_signature


def read_leaf(leaf: bytes) -> tuple[DsseEnvelope, Statement | None]:
    """Return a leaf's envelope and, where its payload is one, its statement; neither is verified."""
    envelope = DsseEnvelope.parse(leaf)
    return envelope, Statement.parse(envelope.payload) if envelope.payload_type == PAYLOAD_TYPE else None
