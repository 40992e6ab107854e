"""What the notary states, sealed as the audit-log seals it, verifies row by row: the two and the verifier agree."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.entry import Entry, read_entries
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.handlers.files import publish_authority
from grace_audit_log.ports import Position
from grace_cli.log_files import FolderLog, read_log_key
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.command import Wanted, verify_database
from grace_common.contract import envelope
from grace_common.contract.envelope import Envelope
from grace_common.contract.events.base import Event
from grace_common.contract.events.operation import OperationSucceeded
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested
from grace_common.contract.events.task import ProducerEnrolled, RedactionRequested, TaskSubmitted
from grace_common.testing.clock import FixedClock
from grace_crypto_signer.domain.entry import Draft, signed
from grace_crypto_signer.domain.keyring import Epoch, Keyring, SigningKey
from grace_crypto_signer.domain.notary import Notary, OwnKeys

from .fakes import KEY

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
OPERATION = UUID("019ac000-0000-7000-8000-000000000004")
CA, OWN, ATTESTER = (SigningKey.of(Ed25519PrivateKey.from_private_bytes(seed * 32)) for seed in (b"c", b"n", b"a"))
NOTARY = Notary(Keyring([Epoch(1, datetime(1970, 1, 1, tzinfo=UTC), bytes(32))]), OwnKeys(CA, OWN, ATTESTER, NOW))
LOG = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ca_keys=lambda: (CA.public_key,))


def notarized(number: int, event: Event, service: str = "gateway") -> list[Entry]:
    """Return the entries of one fact, as the audit-log reads them from the signature topic."""
    operation = uuid5(OPERATION, str(number // 2))
    value = envelope.encode(
        Envelope(
            uuid5(operation, str(number)),
            f"/grace/{service}",
            NOW,
            event.partition_key,
            None,
            operation,
            "ada",
            None,
            event,
        )
    )
    topic, key = event.TOPIC.name, event.partition_key.encode()
    return sealed(NOTARY.notarize(topic, key, value, service))


def sealed(drafts: Sequence[Draft]) -> list[Entry]:
    return [one for record in signed(drafts) for one in read_entries(record) if isinstance(one, Entry)]


async def test_what_the_notary_states_verifies_row_by_row(
    database_url: str, tmp_path: Path, postgres: Postgres
) -> None:
    entries = sealed(NOTARY.key_entries())
    entries += notarized(0, TaskSubmitted.example())
    entries += notarized(1, ProducerEnrolled.example())
    entries += notarized(2, TaskCompleted.example(), "mtl-orchestrator")
    entries += notarized(3, OperationSucceeded.example())
    [target] = [index for index, one in enumerate(entries) if one.entry_type == TaskSubmitted.TYPE]
    asked = RedactionRequested(index=target, entry_id=entries[target].entry_id, reason="a name", by="olga")
    entries += notarized(4, asked)
    writer = PostgresLedgerWriter(database_url, LOG, FixedClock())
    growth = grow(await writer.take_over(), [one.leaf for one in entries], LOG)
    await writer.append(growth, entries, Position(0, 0))
    await writer.release()
    publish_authority(FolderPublication(tmp_path), LOG.ca_keys())
    log = FolderLog(tmp_path)
    wanted = Wanted(read_log_key(str(LOG.key), log, ""))

    report = await asyncio.to_thread(lambda: verify_database(database_url, log, wanted, int, int))

    assert report.findings.faults == []
    assert report.findings.signatures == len(entries)
    assert report.redacted == {target: len(entries) - 1}

    one, other = [index for index, entry in enumerate(entries) if entry.entry_type == ArtifactAttested.TYPE][:2]
    own = await connect(database_url)
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {await own.fetchval('SELECT current_schema()')}")
    await admin.execute("SET session_replication_role = replica")
    for index, entry_id in ((one, UUID(int=0)), (other, entries[one].entry_id), (one, entries[other].entry_id)):
        await admin.execute("UPDATE entry SET entry_id = $2 WHERE index = $1", index, entry_id)
    await own.close()
    await admin.close()

    exchanged = await asyncio.to_thread(lambda: verify_database(database_url, log, wanted, int, int))

    assert [fault.index for fault in exchanged.findings.faults] == [one, other]
