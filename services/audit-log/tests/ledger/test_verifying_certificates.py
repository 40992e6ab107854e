"""The crypto-signer's certificates are compared with the CA and with what the ledger asks for."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect
from grace_audit_log.domain.tree import grow
from grace_audit_log.ports import Position
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.certificates import check_certificates
from grace_cli.verifying.database_log import DatabaseLog
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled
from grace_common.testing.clock import FixedClock
from grace_common.transparency.statement import key_id
from grace_crypto_signer.domain.certificate import Authority

from .fakes import LOG
from .statements import entries, fact

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CA = Authority.create(Ed25519PrivateKey.from_private_bytes(b"c" * 32), "grace.local", serial=1, now=NOW)
FARM, LOST = (Ed25519PrivateKey.from_private_bytes(seed * 32).public_key() for seed in (b"f", b"l"))
FARM_ID, LOST_ID = (key_id(key.public_bytes_raw()) for key in (FARM, LOST))


@dataclass(frozen=True)
class Signer:
    """A ledger, and the signer's table beside it in the same schema."""

    url: str
    schema: str
    admin: Any
    authorities: tuple[Authority, ...] = (CA,)
    ended: tuple[Authority, ...] = ()

    def faults(self) -> list[str]:
        logs = DatabaseLog(self.url), DatabaseLog(self.url)
        try:
            authority = {
                one.key.public_key().public_bytes_raw(): 4 if one in self.ended else None for one in self.authorities
            }
            return [fault.text for fault in check_certificates(*logs, authority, self.schema)]
        finally:
            for log in logs:
                log.close()


@pytest.fixture
async def signer(database_url: str, postgres: Postgres) -> AsyncIterator[Signer]:
    enrolled = {
        "name": "farm",
        "public_key": urlsafe_b64encode(FARM.public_bytes_raw()).decode(),
        "roles": ["requester"],
    }
    revoked = {"key_id": LOST_ID, "reason": "lost", "by": "olga"}
    new = [
        *entries(5),
        fact(5, ProducerEnrolled.TYPE, "gateway", enrolled),
        fact(6, KeyRevocationRequested.TYPE, "gateway", revoked),
    ]
    writer = PostgresLedgerWriter(database_url, LOG, FixedClock())
    await writer.append(grow(await writer.take_over(), [one.leaf for one in new], LOG), new, Position(0, 0))
    await writer.release()
    own = await connect(database_url)
    schema = await own.fetchval("SELECT current_schema()")
    await own.execute(
        "CREATE TABLE certificate (key_id text PRIMARY KEY, subject text, certificate bytea, not_before timestamptz, "
        "not_after timestamptz, roles text[], revoked_at timestamptz, reason text)"
    )
    for subject, key, roles, revoked_at in (
        ("producer/farm", FARM, ["requester"], None),
        ("service/gateway", LOST, [], NOW),
    ):
        issued = CA.issue(subject, key, serial=2, now=NOW, until=NOW + timedelta(days=30))
        await own.execute(
            "INSERT INTO certificate VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            key_id(key.public_bytes_raw()),
            subject,
            issued.public_bytes(Encoding.DER),
            issued.not_valid_before_utc,
            issued.not_valid_after_utc,
            roles,
            revoked_at,
            "lost" if revoked_at else None,
        )
    await own.close()
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {schema}; SET session_replication_role = replica")
    yield Signer(database_url, schema, admin)
    await admin.close()


async def test_certificates_as_they_were_issued_have_no_faults(signer: Signer) -> None:
    assert await asyncio.to_thread(signer.faults) == []


async def test_certificates_of_each_ca_that_the_log_names_have_no_faults(signer: Signer) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
    following = Authority.create(key, "grace.local", serial=1, now=NOW)
    issued = CA.issue("producer/farm", FARM, serial=2, now=NOW, until=NOW + timedelta(days=30))
    again = following.certify_again(issued).public_bytes(Encoding.DER)
    await signer.admin.execute("UPDATE certificate SET certificate = $1 WHERE key_id = $2", again, FARM_ID)

    [fault] = await asyncio.to_thread(signer.faults)
    both = await asyncio.to_thread(replace(signer, authorities=(following, CA)).faults)
    ended = await asyncio.to_thread(replace(signer, authorities=(following, CA), ended=(CA,)).faults)

    assert "is not signed by the CA" in fault
    assert both == []
    ca = key_id(CA.key.public_key().public_bytes_raw())
    assert ended == [
        f"the certificate of {LOST_ID} (service/gateway): it is signed by the CA {ca}, which had ended: entry 4 names "
        "the key directory that says so"
    ]


CHANGES = {
    "certificate changed": ("SET certificate = set_byte(certificate, 100, 255)", "is not signed by the CA"),
    "certificate cut off": ("SET certificate = substr(certificate, 1, 50)", "it cannot be read"),
    "subject changed": ("SET subject = 'producer/mine'", "its column subject is producer/mine"),
    "not_before changed": ("SET not_before = not_before - interval '1 day'", "its column not_before is"),
    "not_after changed": ("SET not_after = not_after + interval '1 year'", "its column not_after is"),
    "roles added": ("SET roles = '{requester,operator}'", "entry 5 enrols it with ['requester']"),
    "revocation invented": ("SET revoked_at = now()", "it was revoked, and no entry of the ledger asks for that"),
    "revocation undone": ("SET revoked_at = NULL, reason = NULL", "entry 6 revokes it, and its row does not say so"),
    "reason changed": ("SET reason = 'no more'", "its column reason is not what entry 6 says"),
    "key changed": ("SET key_id = 'ab'", "its column key_id is ab"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_every_change_of_a_certificate_is_found_and_named(signer: Signer, what: str) -> None:
    change, named = CHANGES[what]
    whose = LOST_ID if what in ("revocation undone", "reason changed") else FARM_ID

    await signer.admin.execute(f"UPDATE certificate {change} WHERE key_id = '{whose}'")

    messages = await asyncio.to_thread(signer.faults)
    assert any(named in message for message in messages), messages


async def test_a_producer_that_nobody_enrolled_is_named_unless_that_was_redacted(signer: Signer) -> None:
    await signer.admin.execute("UPDATE entry SET service = 'eve' WHERE index = 5")
    assert [text.split(": ")[1] for text in await asyncio.to_thread(signer.faults)] == [
        "no entry of the ledger enrols it"
    ]

    await signer.admin.execute(
        "UPDATE entry SET service = 'gateway' WHERE index = 5; DELETE FROM payload WHERE index = 5"
    )

    assert await asyncio.to_thread(signer.faults) == []
