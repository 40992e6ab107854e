"""`grace ledger verify --database` knows from the tables when keys ended, and names what they signed afterwards."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.entry import Entry
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.handlers.files import publish_authority
from grace_audit_log.ports import Position
from grace_cli.log_files import FolderLog, read_log_key
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.command import Report, Wanted, verify_database
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.task import RedactionRequested
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import TIME, SeededKey
from grace_common.transparency.directory import DirectoryKey
from grace_common.transparency.tile import WIDTH

from .directories import LATER, version
from .fakes import KEY
from .statements import ATTESTER, CA, EVERY, NOTARY, SUBJECT, announced, attested, directory, entries, fact, published
from .tables import Administered

NEXT_CA, NEXT_NOTARY, NEXT_ATTESTER = SeededKey("next ca"), SeededKey("next notary"), SeededKey("next attestation")
LOG = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ca_keys=lambda: (NEXT_CA.public_key, CA.public_key))
LISTED_AT, REPLACED_AT, ENDED_AT = 23, 305, 405
SIZE = 2 * WIDTH + 188
FACT_AT = 503  # attested by the entry after it


def listed(ca: SeededKey, notary: SeededKey, attester: SeededKey) -> tuple[DirectoryKey, ...]:
    return (
        DirectoryKey("ca", ca.public_key, TIME),
        DirectoryKey("notary", notary.public_key, TIME),
        DirectoryKey("attestation", attester.public_key, TIME),
    )


OLD, NEW = listed(CA, NOTARY, ATTESTER), listed(NEXT_CA, NEXT_NOTARY, NEXT_ATTESTER)
GONE = tuple(replace(key, not_after=LATER) for key in OLD)
V1 = version([], signers=OLD)
V2 = version([V1], signers=(OLD[0], *GONE[1:], *NEW))
V3 = version([V1, V2], signers=(*GONE, *NEW))


def whole() -> list[Entry]:
    """A ledger in which another CA publishes other keys, and those before end: the CA's keys, then the CA."""
    made = entries(SIZE)
    made[LISTED_AT] = directory(LISTED_AT, V1, 1)
    made[REPLACED_AT - 3] = published(NEXT_NOTARY, "notary", NEXT_CA)
    made[REPLACED_AT - 2] = published(NEXT_ATTESTER, "attestation", NEXT_CA)
    made[REPLACED_AT] = directory(REPLACED_AT, V2, 2)
    made[ENDED_AT] = directory(ENDED_AT, V3, 3)
    for index in range(REPLACED_AT, SIZE):
        if index % EVERY == 0:
            made[index] = announced(made[index].operation_id, NEXT_NOTARY)
    made[FACT_AT] = fact(FACT_AT, TaskCompleted.TYPE, "mtl-orchestrator", {"task_id": SUBJECT})
    made[FACT_AT + 1] = attested(made[FACT_AT], NEXT_ATTESTER)
    return made


FORGED = {
    "an operation's key by the notary": (510, NOTARY, "notary", REPLACED_AT),
    "an attestation": (FACT_AT + 1, ATTESTER, "attestation", REPLACED_AT),
    "a notary's key by the CA": (ENDED_AT + 2, CA, "ca", ENDED_AT),
}


def forged(purpose: str, index: int, made: list[Entry]) -> Entry:
    match purpose:
        case "notary":
            return announced(made[index].operation_id, NOTARY)
        case "attestation":
            return attested(made[index - 1], ATTESTER)
    return published(SeededKey("thief"), "notary", CA)


class Tables(Administered):
    """The administered tables, as these tests verify them."""

    async def append(self, new: Sequence[Entry]) -> None:
        writer = PostgresLedgerWriter(self.url, LOG, FixedClock())
        head = await writer.take_over()
        growth = grow(head, [one.leaf for one in new], LOG)
        await writer.append(growth, new, Position(0, growth.after.edge.size))
        await writer.release()

    async def verified(self, **wanted: Any) -> Report:
        log = FolderLog(self.folder)
        want = Wanted(read_log_key(str(LOG.key), log, ""), **wanted)
        return await asyncio.to_thread(lambda: verify_database(self.url, log, want, int, int))

    async def texts(self, **wanted: Any) -> list[str]:
        return [fault.text for fault in (await self.verified(**wanted)).findings.faults]


@pytest.fixture
async def tables(database_url: str, postgres: Postgres, tmp_path: Path) -> Tables:
    own = await connect(database_url)
    schema = await own.fetchval("SELECT current_schema()")
    await own.close()
    publish_authority(FolderPublication(tmp_path), LOG.ca_keys())
    return Tables(database_url, postgres.url(), schema, tmp_path)


async def test_tables_of_a_log_whose_keys_were_all_replaced_are_whole(tables: Tables, tmp_path: Path) -> None:
    await tables.append(whole())

    report = await tables.verified(resume=tmp_path / "state")

    assert report.findings.faults == []
    assert "None of 3 keys that have ended signed an entry after its end." in report.sentences()
    assert await tables.texts(resume=tmp_path / "state") == []
    assert await tables.texts(processes=2) == []


@pytest.mark.parametrize("what", FORGED)
async def test_what_a_key_signed_after_its_end_is_named(tables: Tables, tmp_path: Path, what: str) -> None:
    index, key, purpose, end = FORGED[what]
    made, state = whole(), tmp_path / "state"
    made[index] = forged(purpose, index, made)
    await tables.append(made[: end + 1])
    assert await tables.texts(resume=state) == []
    await tables.append(made[end + 1 :])

    expected = [
        f"entry {index} is signed with {key.key_id}, which had ended as a key for {purpose}: entry {end} names the key "
        "directory that says so"
    ]

    assert await tables.texts() == expected
    assert await tables.texts(resume=state) == expected


async def test_a_directory_cannot_be_taken_out_of_sight_by_a_redaction(tables: Tables) -> None:
    made = whole()
    data = {"index": REPLACED_AT, "entry_id": str(made[REPLACED_AT].entry_id), "reason": "a name", "by": "olga"}
    made[407] = fact(407, RedactionRequested.TYPE, "gateway", data)
    made[510] = announced(made[510].operation_id, NOTARY)
    await tables.append(made)
    async with tables.changing() as admin:
        await admin.execute("DELETE FROM payload WHERE index = $1", REPLACED_AT)
        await admin.execute("INSERT INTO redaction (index, entry) VALUES ($1, 407)", REPLACED_AT)

    found = await tables.texts()

    assert (
        f"the payload of entry {REPLACED_AT} is missing, a version of the key directory, which nothing redacts" in found
    )


async def test_a_version_that_does_not_follow_the_one_before_is_named(tables: Tables) -> None:
    made = whole()
    made[ENDED_AT] = directory(ENDED_AT, version([V1, V1], signers=OLD), 3)
    await tables.append(made)

    assert await tables.texts() == ["version 3 of the key directory does not follow version 2"]


async def test_what_is_named_as_a_directory_and_is_none_is_named(tables: Tables) -> None:
    made = whole()
    made[ENDED_AT] = directory(ENDED_AT, b"{}", 3)
    await tables.append(made)

    found = await tables.texts()

    assert any(text.startswith(f"the payload of entry {ENDED_AT} is no key directory") for text in found), found
