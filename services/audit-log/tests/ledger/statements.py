"""A ledger as the crypto-signer states it: signed by operations' keys, with payloads, an attestation, a redaction."""

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from grace_audit_log.domain.entry import Entry
from grace_common.contract.events.base import answer_id
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested
from grace_common.contract.events.task import RedactionRequested
from grace_common.testing.ledger import SeededKey, sign_statement
from grace_common.transparency.attestation import Provenance, Subject, sign_attestation
from grace_common.transparency.statement import (
    KEY_DIRECTORY_PUBLISHED,
    NOTARY_KEY_PUBLISHED,
    OPERATION_KEY_GENERATED,
    OperationKey,
    PublishedKey,
    Purpose,
    Statement,
)

CA, NOTARY, ATTESTER = SeededKey("ca"), SeededKey("notary"), SeededKey("attestation")
WHEN = "2026-11-22T00:00:00+00:00"
SUBMITTED = "grace.task-submitted.v1"
ATTESTED_AT, SUBJECT = 10, "task-1"
EVERY = 10  # entries of one operation, its key's included


def id_of(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, name)


def operation(index: int) -> UUID:
    return id_of(f"operation {index // EVERY}")


def entries(count: int, *, redacting: dict[int, int] | None = None) -> list[Entry]:
    """Return a whole ledger of so many entries; `redacting` maps places to the entries whose redaction they ask for."""
    made: list[Entry] = []
    for index in range(count):
        if index < 2:
            made.append(published(NOTARY if index == 0 else ATTESTER, "notary" if index == 0 else "attestation"))
        elif index % EVERY == 0 or index == 2:
            made.append(announced(operation(index)))
        elif index == ATTESTED_AT + 5:
            made.append(fact(index, TaskCompleted.TYPE, "mtl-orchestrator", {"task_id": SUBJECT}))
        elif index == ATTESTED_AT + 6:
            made.append(attested(made[-1]))
        elif redacting and index in redacting:
            target = redacting[index]
            data = {"index": target, "entry_id": str(made[target].entry_id), "reason": "a name", "by": "olga"}
            made.append(fact(index, RedactionRequested.TYPE, "gateway", data))
        else:
            made.append(fact(index, SUBMITTED, "gateway", {"number": index}))
    return made


def published(key: SeededKey, purpose: Purpose, by: SeededKey = CA) -> Entry:
    said = _statement(
        id_of(f"published {purpose} {key.key_id}"),
        NOTARY_KEY_PUBLISHED,
        "crypto-signer",
        id_of(purpose),
        key=PublishedKey(key.public_key, purpose),
    )
    return _entry(said, by)


def announced(operation: UUID, by: SeededKey = NOTARY) -> Entry:
    key = OperationKey(SeededKey(str(operation)).public_key, str(operation), 1)
    said = _statement(id_of(f"key {operation}"), OPERATION_KEY_GENERATED, "crypto-signer", operation, key=key)
    return _entry(said, by, entry_type="cryptographic_key_generated")


def fact(index: int, type: str, service: str, data: dict[str, object]) -> Entry:
    payload = orjson.dumps({"type": type, "data": data})
    said = _statement(id_of(f"fact {index}"), type, service, operation(index), digest=sha256(payload).hexdigest())
    return _entry(said, SeededKey(str(operation(index))), payload=payload)


def directory(index: int, signed: bytes, number: int) -> Entry:
    """Return the entry that names a signed version of the key directory, of the operation at this index."""
    said = _statement(
        id_of(f"directory {index}"),
        KEY_DIRECTORY_PUBLISHED,
        "crypto-signer",
        operation(index),
        digest=sha256(signed).hexdigest(),
    )
    said = replace(said, subject_type="key-directory", subject=str(number), topic=None, key=None)
    return _entry(said, SeededKey(str(operation(index))), payload=signed)


def attested(cause: Entry, by: SeededKey = ATTESTER) -> Entry:
    provenance = Provenance("https://build", "https://builder", SUBJECT, WHEN, WHEN, {}, {})
    leaf = sign_attestation(provenance.of(Subject("a.py", "ab" * 32)), by.key_id, by.sign).encode()
    return Entry(
        entry_id=answer_id(cause.entry_id, ArtifactAttested.TYPE, 0),
        leaf=leaf,
        entry_type=ArtifactAttested.TYPE,
        operation_id=cause.operation_id,
        correlation=cause.correlation,
        actor="crypto-signer",
        service="crypto-signer",
        time=cause.time,
    )


def _statement(
    id: UUID,
    type: str,
    service: str,
    operation: UUID,
    *,
    digest: str | None = None,
    key: OperationKey | PublishedKey | None = None,
) -> Statement:
    return Statement(
        id=str(id),
        type=type,
        service=service,
        actor="ada",
        subject_type="task",
        subject=SUBJECT,
        topic=None if key else "grace.task.v1",
        key=None if key else SUBJECT,
        time=WHEN,
        correlation_id=SUBJECT,
        causation_id=None,
        operation_id=str(operation),
        digest=digest,
        announced=key,
    )


def _entry(said: Statement, signer: SeededKey, *, entry_type: str | None = None, payload: bytes | None = None) -> Entry:
    return Entry(
        entry_id=UUID(said.id),
        leaf=sign_statement(said, signer.key_id, signer.sign),
        entry_type=entry_type or said.type,
        operation_id=UUID(said.operation_id),
        correlation=said.correlation_id,
        actor=said.actor,
        service=said.service,
        time=datetime(2026, 11, 22, tzinfo=UTC),
        payload=payload,
    )
