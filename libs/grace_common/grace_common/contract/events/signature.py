"""What the crypto-signer signed: `grace.signature.v1`, whose one partition is the ledger's order.

Entries travel together, in their order: `EntriesNotarized`. Until they did, each had a record of its own, of one of the
other types; who reads the topic reads those too, for the topic may hold them and examples of them are read for ever.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import Field

from grace_common.contract import topics
from grace_common.contract.events.base import Contract, Event

_ID = UUID("019ac000-0000-7000-8000-000000000005")
_TASK = "019ac000-0000-7000-8000-000000000001"
_TIME = datetime.fromisoformat("2026-11-22T00:00:00+00:00")


def _entry(
    type_: str, correlation: str = "keys", actor: str = "crypto-signer", service: str = "crypto-signer"
) -> dict[str, Any]:
    """Return what the examples have in common."""
    return {
        "entry_id": _ID,
        "leaf": b"{}",
        "entry_type": type_,
        "operation_id": _ID,
        "correlation": correlation,
        "actor": actor,
        "service": service,
        "time": _TIME,
    }


class NotarizedEntry(Contract):
    """One entry of the ledger.

    entry_id  the identity of the entry: the first copy of an id wins
    leaf      the exact DSSE envelope bytes, which are JSON, that become the Merkle leaf
    payload   the exact bytes of what the statement is about, which are JSON; None where the statement says it all
    the rest  what the ledger can be searched by; taken from the signed statement
    """

    entry_id: UUID
    leaf: str
    entry_type: str
    operation_id: UUID
    correlation: str
    actor: str
    service: str
    time: datetime
    payload: str | None = None


class EntriesNotarized(Event):
    """Entries of the ledger in their order: facts, the keys that sign them, attestations of artifacts."""

    TYPE: ClassVar = "grace.entries-notarized.v1"
    TOPIC: ClassVar = topics.SIGNATURE

    entries: Annotated[tuple[NotarizedEntry, ...], Field(min_length=1)]

    @property
    def partition_key(self) -> str:
        return "log"

    @classmethod
    def example(cls) -> Self:
        submitted = _entry("grace.task-submitted.v1", correlation=_TASK, actor="ada", service="gateway")
        return cls(entries=(NotarizedEntry(**submitted | {"leaf": "{}", "payload": "{}"}),))


class _SignatureEvent(Event):
    """What every entry with a record of its own has, as `NotarizedEntry` says, its bytes in base64."""

    TOPIC: ClassVar = topics.SIGNATURE
    SUPERSEDED: ClassVar = True

    entry_id: UUID
    leaf: bytes
    entry_type: str
    operation_id: UUID
    correlation: str
    actor: str
    service: str
    time: datetime

    @property
    def partition_key(self) -> str:
        return "log"


class EnvelopeNotarized(_SignatureEvent):
    """One envelope's statement, signed with its operation's key; `payload` is the envelope as it came."""

    TYPE: ClassVar = "grace.envelope-notarized.v1"

    payload: bytes

    @classmethod
    def example(cls) -> Self:
        return cls(
            **_entry("grace.task-submitted.v1", correlation=_TASK, actor="ada", service="gateway"), payload=b"{}"
        )


class OperationKeyGenerated(_SignatureEvent):
    """An operation's key came to be; logged as `cryptographic_key_generated` before the operation's first entry."""

    TYPE: ClassVar = "grace.operation-key-generated.v1"

    key_id: str
    public_key: bytes
    epoch: int

    @classmethod
    def example(cls) -> Self:
        return cls(
            **_entry("cryptographic_key_generated", correlation=_TASK), key_id="3f2a", public_key=bytes(32), epoch=1
        )


class NotaryKeyPublished(_SignatureEvent):
    """A key of the signer itself (notary, attestation) with the CA's signature over it."""

    TYPE: ClassVar = "grace.notary-key-published.v1"

    key_id: str
    public_key: bytes
    purpose: str

    @classmethod
    def example(cls) -> Self:
        return cls(**_entry("grace.notary-key-published.v1"), key_id="3f2a", public_key=bytes(32), purpose="notary")


class KeyDirectoryPublished(_SignatureEvent):
    """A version of the public key directory; `payload` is the DSSE envelope that the root signed, exactly."""

    TYPE: ClassVar = "grace.key-directory-published.v1"

    version: int
    root_id: str
    payload: bytes

    @classmethod
    def example(cls) -> Self:
        return cls(**_entry("grace.key-directory-published.v1"), version=1, root_id="3f2a", payload=b"{}")


class ArtifactAttested(_SignatureEvent):
    """The delivered artifact's in-toto statement in a DSSE envelope (`leaf`), signed with the attestation key."""

    TYPE: ClassVar = "grace.artifact-attested.v1"

    task_id: UUID
    artifact_sha256: str

    @classmethod
    def example(cls) -> Self:
        return cls(**_entry("grace.artifact-attested.v1", correlation=_TASK), task_id=_ID, artifact_sha256="01" * 32)
