"""`grace ledger verify --database` finds every change that an administrator can make, and names it to the entry."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerReader, PostgresLedgerWriter, connect
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.handlers.files import Published, publish, publish_authority
from grace_audit_log.ports import Position
from grace_cli.errors import CliError
from grace_cli.log_files import FolderLog, read_log_key
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.command import Report, Wanted, verify_database
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_common.transparency.tile import WIDTH

from .fakes import KEY
from .statements import CA, entries
from .tables import Administered

LOG = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ca_keys=lambda: (CA.public_key,))
SIZE, BATCH = 2 * WIDTH + 88, 100
REDACTED, BY = 33, 205
TABLES = ("entry", "payload", "tile", "checkpoint", "redaction")


class Tables(Administered):
    """The administered tables, as these tests verify them."""

    def verify(self, *, signer: bool = False, **wanted: Any) -> Report:
        log = FolderLog(self.folder)
        key = read_log_key(str(LOG.key), log, "")
        signer_url = self.admin if signer else None
        return verify_database(self.url, log, Wanted(key, self.folder / "ca", **wanted), int, int, signer_url)


async def append(url: str, count: int) -> None:
    """Bring the ledger up to so many entries, committed in batches."""
    writer = PostgresLedgerWriter(url, LOG, FixedClock())
    head = await writer.take_over()
    whole = entries(count, redacting={BY: REDACTED})
    while head.edge.size < count:
        new = whole[head.edge.size : head.edge.size + BATCH]
        growth = grow(head, [one.leaf for one in new], LOG)
        await writer.append(growth, new, Position(0, head.edge.size))
        head = growth.after
    await writer.release()


@pytest.fixture
async def tables(database_url: str, postgres: Postgres, tmp_path: Path) -> Tables:
    """A ledger in PostgreSQL, nothing published yet."""
    await append(database_url, SIZE)
    own = await connect(database_url)
    schema = await own.fetchval("SELECT current_schema()")
    await own.close()
    publish_authority(FolderPublication(tmp_path), LOG.ca_keys())
    return Tables(database_url, postgres.url(), schema, tmp_path)


async def found(tables: Tables, **wanted: Any) -> list[str]:
    """Return what the verification of the tables finds."""
    try:
        report = await asyncio.to_thread(lambda: tables.verify(**wanted))
    except Refused as error:
        return [str(error)]
    return [fault.text for fault in report.findings.faults]


async def test_untouched_tables_have_no_faults_and_name_what_was_redacted(tables: Tables) -> None:
    report = await asyncio.to_thread(tables.verify)

    assert report.findings.faults == []
    assert report.findings.signatures == SIZE
    assert report.redacted == {REDACTED: BY}
    assert f"The payload of entry {REDACTED} was redacted by entry {BY}." in report.sentences()
    assert report.described()["redacted"] == [{"index": REDACTED, "by": BY}]


def swap(table: str, column: str, one: int, other: int) -> str:
    return (
        f"UPDATE {table} a SET {column} = b.{column} FROM {table} b "
        f"WHERE (a.index, b.index) IN (({one}, {other}), ({other}, {one}))"
    )


FLIP = "set_byte({0}, octet_length({0}) / 2, get_byte({0}, octet_length({0}) / 2) # 1)"
CHANGES = {
    "leaf changed": (f"UPDATE entry SET leaf = {FLIP.format('leaf')} WHERE index = 300", "entry 300 is not the one"),
    "leaf of the last bundle changed": (
        f"UPDATE entry SET leaf = {FLIP.format('leaf')} WHERE index = {SIZE - 2}",
        f"entry {SIZE - 2}: its column leaf_hash",
    ),
    "leaf and its hash changed": (
        "UPDATE entry SET leaf = '\\x7b7d', leaf_hash = sha256('\\x007b7d') WHERE index = 300",
        "entry 300 is not the one",
    ),
    "leaf and its hash of the last bundle changed": (
        f"UPDATE entry SET leaf = '\\x7b7d', leaf_hash = sha256('\\x007b7d') WHERE index = {SIZE - 2}",
        f"entry {SIZE - 2} is no signed statement",
    ),
    "leaf_hash changed": (
        f"UPDATE entry SET leaf_hash = {FLIP.format('leaf_hash')} WHERE index = 300",
        "entry 300: its column leaf_hash",
    ),
    "leaves swapped": (swap("entry", "leaf", 301, 305), "entries 301 and 305 were exchanged"),
    "entry deleted": ("DELETE FROM entry WHERE index = 300", "entry 300 is missing"),
    "entry of the last bundle deleted": (f"DELETE FROM entry WHERE index = {SIZE - 2}", f"entry {SIZE - 2} is missing"),
    "entries cut off": (f"DELETE FROM entry WHERE index >= {SIZE - 3}", f"entry {SIZE - 3} is missing"),
    "entry inserted": (
        f"INSERT INTO entry SELECT {SIZE}, gen_random_uuid(), leaf, leaf_hash, entry_type, operation_id, correlation, "
        "actor, service, time FROM entry WHERE index = 300",
        f"entry {SIZE} stands behind the newest checkpoint",
    ),
    "entry_id changed": (
        "UPDATE entry SET entry_id = gen_random_uuid() WHERE index = 300",
        "entry 300: its column entry_id is",
    ),
    "entry_type changed": ("UPDATE entry SET entry_type = 'grace.x.v1' WHERE index = 301", "its column entry_type is"),
    "operation_id changed": (
        "UPDATE entry SET operation_id = gen_random_uuid() WHERE index = 301",
        "entry 301: its column operation_id is",
    ),
    "correlation changed": ("UPDATE entry SET correlation = 'x' WHERE index = 301", "its column correlation is x"),
    "actor changed": ("UPDATE entry SET actor = 'eve' WHERE index = 301", "its column actor is eve, its leaf says ada"),
    "service changed": ("UPDATE entry SET service = 'code-gen' WHERE index = 301", "column service is code-gen"),
    "time changed": ("UPDATE entry SET time = time + interval '1 microsecond' WHERE index = 301", "its column time is"),
    "entry_id of an attestation changed": (
        "UPDATE entry SET entry_id = gen_random_uuid() WHERE index = 16",
        "entry 16: its column entry_id is",
    ),
    "operation of an attestation changed": (
        "UPDATE entry SET operation_id = gen_random_uuid() WHERE index = 16",
        "entry 16: its column operation_id is",
    ),
    "time of an attestation changed": (
        "UPDATE entry SET time = time + interval '1 day' WHERE index = 16",
        "entry 16: its column time is",
    ),
    "key record changed": (
        f"UPDATE entry SET leaf = {FLIP.format('leaf')} WHERE index = 300",
        "entry 301 is signed with",
    ),
    "payload changed": (
        "UPDATE payload SET content = content || ' ' WHERE index = 301",
        "the payload of entry 301 is not the one",
    ),
    "payloads swapped": (swap("payload", "content", 301, 302), "the payload of entry 302 is not the one"),
    "payload deleted": (
        "DELETE FROM payload WHERE index = 301",
        "the payload of entry 301 is missing, and no entry redacts it",
    ),
    "payload inserted": ("INSERT INTO payload VALUES (300, 'x')", "entry 300 has a payload, and its leaf names none"),
    "payload of no entry": (f"INSERT INTO payload VALUES ({SIZE}, 'x')", f"a payload stands at {SIZE}"),
    "payload of the redaction deleted": (
        f"DELETE FROM payload WHERE index = {BY}",
        f"entry {BY}, by which the payload of entry {REDACTED} was redacted, does not ask it",
    ),
    "redaction invented": (
        "INSERT INTO redaction VALUES (40, 301); DELETE FROM payload WHERE index = 40",
        "entry 301, by which the payload of entry 40 was redacted, does not ask it",
    ),
    "redaction moved": (
        f"UPDATE redaction SET index = 40; DELETE FROM payload WHERE index = 40; "
        f"INSERT INTO payload SELECT {REDACTED}, content FROM payload WHERE index = 301",
        f"entry {BY}, by which the payload of entry 40 was redacted, does not ask it",
    ),
    "redaction forgotten": ("DELETE FROM redaction", f"the payload of entry {REDACTED} is missing"),
    "redacted payload put back": (
        f"INSERT INTO payload VALUES ({REDACTED}, 'x')",
        f"the payload of entry {REDACTED} stands, though entry {BY} redacted it",
    ),
    "redacted payload put back, redaction forgotten": (
        f"DELETE FROM redaction; INSERT INTO payload VALUES ({REDACTED}, 'x')",
        f"the payload of entry {REDACTED} stands, though entry {BY} redacts it",
    ),
    "tile changed": (
        f"UPDATE tile SET hashes = {FLIP.format('hashes')} WHERE index = 1",
        "the row of tile/0/001: its column root",
    ),
    "tile and its root changed": (
        f"UPDATE tile SET hashes = {FLIP.format('hashes')}, root = sha256('x') WHERE index = 1",
        "tile/0/001",
    ),
    "tile's root changed": ("UPDATE tile SET root = sha256('x') WHERE index = 1", "the row of tile/0/001: its column"),
    "tiles swapped": (swap("tile", "hashes", 0, 1), "the row of tile/0/000: its column root"),
    "tile deleted": ("DELETE FROM tile WHERE index = 1", "the row of tile/0/001 is missing"),
    "tile inserted": (
        "INSERT INTO tile SELECT 1, 0, hashes, root FROM tile WHERE index = 1",
        "the row of tile/1/000 lies outside the tree",
    ),
    "checkpoint's note changed": (
        f"UPDATE checkpoint SET note = {FLIP.format('note')} WHERE size = 300",
        "checkpoint 300: ",
    ),
    "checkpoint's root changed": (
        "UPDATE checkpoint SET root = sha256('x') WHERE size = 300",
        "checkpoint 300: its columns are not what its note says",
    ),
    "checkpoint's size changed": (
        "UPDATE checkpoint SET size = 299 WHERE size = 300",
        "checkpoint 299: its columns are not what its note says",
    ),
    "checkpoint's previous_root changed": (
        "UPDATE checkpoint SET previous_root = sha256('x') WHERE size = 300",
        "checkpoint 300: its column previous_root is not the root of checkpoint 200",
    ),
    "checkpoint's previous_size changed": (
        "UPDATE checkpoint SET previous_size = 199 WHERE size = 300",
        "checkpoint 300 follows checkpoint 199, which is missing",
    ),
    "checkpoint deleted": ("DELETE FROM checkpoint WHERE size = 300", "checkpoint 400 follows checkpoint 300"),
    "notes swapped": (
        "UPDATE checkpoint a SET note = b.note FROM checkpoint b WHERE (a.size, b.size) IN ((200, 300), (300, 200))",
        "checkpoint 200: its columns are not what its note says",
    ),
    "newest checkpoint deleted": (
        f"DELETE FROM checkpoint WHERE size = {SIZE}",
        "entry 500 stands behind the newest checkpoint",
    ),
    "newest checkpoint changed": (
        f"UPDATE checkpoint SET root = sha256('x') WHERE size = {SIZE}",
        f"checkpoint {SIZE}: its columns are not what its note says",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_every_change_is_found_and_named(tables: Tables, what: str) -> None:
    statement, named = CHANGES[what]
    async with tables.changing() as admin:
        await admin.execute(statement)

    messages = await found(tables)

    assert any(named in message for message in messages), messages


async def test_tables_set_back_to_an_older_backup_do_not_reach_what_is_published(tables: Tables) -> None:
    reader = PostgresLedgerReader(tables.url)
    newest = await reader.newest()
    assert newest is not None
    await publish(reader, FolderPublication(tables.folder), LOG.key, Published(), newest)
    await reader.close()
    assert await found(tables) == []
    async with tables.changing() as admin:
        await admin.execute(
            "DELETE FROM checkpoint WHERE size > 300; DELETE FROM entry WHERE index >= 300; DELETE FROM tile WHERE "
            "index = 1; DELETE FROM payload WHERE index >= 300"
        )

    [message] = await found(tables)

    assert f"rolled back: it had {SIZE} entries" in message
    assert f"entries 300 to {SIZE - 1} are gone" in message


async def test_a_checkpoint_kept_elsewhere_shows_the_rollback_too(tables: Tables, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    async with tables.changing() as admin:
        kept.write_bytes(await admin.fetchval(f"SELECT note FROM checkpoint WHERE size = {SIZE}"))
        assert await found(tables, since=kept) == []
        await admin.execute(
            "DELETE FROM checkpoint WHERE size > 300; DELETE FROM entry WHERE index >= 300; DELETE FROM tile WHERE "
            "index = 1; DELETE FROM payload WHERE index >= 300"
        )

    [message] = await found(tables, since=kept)

    assert "rolled back" in message


async def test_a_verification_of_tables_is_resumed_and_uses_several_processes(tables: Tables, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert await found(tables, resume=state) == []
    await append(tables.url, 40 * WIDTH)

    report = await asyncio.to_thread(lambda: tables.verify(resume=state, processes=2))

    assert (report.findings.began, report.findings.faults) == (SIZE - SIZE % WIDTH, [])
    async with tables.changing() as admin:
        await admin.execute("UPDATE entry SET actor = 'eve' WHERE index = 9001")
    assert await found(tables, processes=2) == ["entry 9001: its column actor is eve, its leaf says ada"]


async def test_the_signers_certificates_are_looked_at_where_they_are_at_hand(tables: Tables) -> None:
    without = await asyncio.to_thread(lambda: tables.verify(signer=True))
    async with tables.changing() as admin:
        await admin.execute(
            "CREATE SCHEMA crypto_signer; CREATE TABLE crypto_signer.certificate "
            "(key_id text, subject text, certificate bytea)"
        )
        empty = await asyncio.to_thread(lambda: tables.verify(signer=True))
        await admin.execute("INSERT INTO crypto_signer.certificate VALUES ('ab', 'service/x', '')")
        forged = await found(tables, signer=True)
        await admin.execute("DROP SCHEMA crypto_signer CASCADE")

    assert (without.certificates, empty.certificates) == (None, 0)
    assert "The 0 certificates are as the CA signed them and as the entries ask." in empty.sentences()
    assert forged[0].startswith("the certificate of ab (service/x): it cannot be read")


async def test_a_database_that_cannot_be_read_is_said_so(tables: Tables) -> None:
    nowhere = replace(tables, url=tables.url.rpartition("/")[0] + "/nowhere")

    with pytest.raises(CliError, match="cannot be read"):
        await asyncio.to_thread(nowhere.verify)
