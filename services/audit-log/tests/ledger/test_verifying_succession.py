"""`grace ledger verify` of a log whose own key was replaced: what an earlier key signed, and who vouches for that."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerReader, PostgresLedgerWriter, connect
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.entry import Entry
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.handlers.directories import publish_directories
from grace_audit_log.handlers.files import publish, publish_authority, published
from grace_audit_log.ports import Position
from grace_cli.errors import CliError
from grace_cli.log_files import FolderLog, LogKey, read_log_key
from grace_cli.testing.stack import Postgres
from grace_cli.verifying.command import Report, Wanted, verify_database, verify_files
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.tile import WIDTH

from .directories import version
from .statements import CA, directory, entries
from .tables import Administered

ORIGIN = "grace.local/log"
FIRST, SECOND, STRANGER = SeededKey("first"), SeededKey("second"), SeededKey("stranger")
OLD, NEW = FIRST.named(ORIGIN), SECOND.named(ORIGIN)


def cas() -> tuple[bytes, ...]:
    return (CA.public_key,)


ALONE = LogIdentity(OLD, FIRST.sign, ca_keys=cas)
BOTH = LogIdentity(NEW, SECOND.sign, ca_keys=cas, others=((OLD, FIRST.sign),))
AFTER = LogIdentity(NEW, SECOND.sign, ca_keys=cas)

V1 = version([], OLD)
V2 = version([V1], OLD, NEW)
V3 = version([V1, V2], NEW, ended=[OLD])
LISTED_AT, SUCCEEDED_AT, ENDED_AT = 23, 305, 405
SIZE, BATCH = 2 * WIDTH + 188, 100


def whole(count: int, *, stated: dict[int, tuple[bytes, int]] | None = None) -> list[Entry]:
    """A ledger whose entries name the versions of the key directory."""
    places = {LISTED_AT: (V1, 1), SUCCEEDED_AT: (V2, 2), ENDED_AT: (V3, 3)} if stated is None else stated
    made = entries(count)
    for index, (signed, number) in places.items():
        if index < count:
            made[index] = directory(index, signed, number)
    return made


def identity(size: int) -> LogIdentity:
    """Who signs the tree of this size."""
    return ALONE if size <= SUCCEEDED_AT else BOTH if size <= ENDED_AT else AFTER


class Tables(Administered):
    """The administered tables, as these tests verify them."""

    async def append(self, whole: Sequence[Entry]) -> None:
        """Bring the ledger and the publication up to these entries."""
        reader = PostgresLedgerReader(self.url)
        newest = await reader.newest()
        await reader.close()
        for start in range(newest.size if newest else 0, len(whole), BATCH):
            end = min(start + BATCH, len(whole))
            writer = PostgresLedgerWriter(self.url, identity(end), FixedClock())
            head = await writer.take_over()
            new = whole[start:end]
            growth = grow(head, [one.leaf for one in new], identity(end))
            await writer.append(growth, new, Position(0, end))
            await writer.release()
            await self.publish(end)

    async def publish(self, size: int) -> None:
        reader, files = PostgresLedgerReader(self.url), FolderPublication(self.folder)
        newest = await reader.newest()
        assert newest is not None
        keys = identity(size).keys
        await publish_directories(reader, files, await reader.places(0, newest.size))
        await publish(reader, files, keys, published(files, (*keys, OLD)), newest)
        await reader.close()

    async def resign(self, size: int, *signers: SeededKey) -> None:
        """Let others sign the checkpoint of this size, whatever it says."""
        async with self.changing() as admin:
            note = Note.parse(await admin.fetchval("SELECT note FROM checkpoint WHERE size = $1", size))
            first, *others = [(key.named(ORIGIN), key.sign) for key in signers]
            made = sign_checkpoint(Checkpoint.parse(note.text), *first, *others)
            await admin.execute("UPDATE checkpoint SET note = $2 WHERE size = $1", size, made)

    def verify(self, *keys: VerifierKey, files: bool = False, **wanted: Any) -> Report:
        log = FolderLog(self.folder)
        given, *earlier = map(str, keys or (NEW,))
        want = Wanted(read_log_key(given, log, "", earlier), self.folder / "ca", **wanted)
        return verify_files(log, want, int, int) if files else verify_database(self.url, log, want, int, int)


@pytest.fixture
async def tables(database_url: str, postgres: Postgres, tmp_path: Path) -> Tables:
    own = await connect(database_url)
    schema = await own.fetchval("SELECT current_schema()")
    await own.close()
    publish_authority(FolderPublication(tmp_path), (CA.public_key,))
    return Tables(database_url, postgres.url(), schema, tmp_path)


async def found(tables: Tables, *keys: VerifierKey, **wanted: Any) -> list[str]:
    """Return what the verification finds."""
    try:
        report = await asyncio.to_thread(lambda: tables.verify(*keys, **wanted))
    except Refused as error:
        return [str(error)]
    return [fault.text for fault in report.findings.faults]


async def test_rows_across_the_change_verify_by_the_newest_key_alone(tables: Tables) -> None:
    await tables.append(whole(SIZE))

    report = await asyncio.to_thread(lambda: tables.verify(processes=2))

    assert report.findings.faults == []
    assert report.succeeded == (OLD,)
    assert f"The log's key succeeds {OLD}, as its key directory says." in report.sentences()
    assert report.described()["succeeded"] == [str(OLD)]
    by_files = await asyncio.to_thread(lambda: tables.verify(files=True))
    assert (by_files.findings.faults, by_files.succeeded, by_files.findings.directories) == ([], (), 3)
    assert (tables.folder / "vkey").read_text() == f"{NEW}\n"


async def test_while_both_sign_either_key_verifies_the_newest_checkpoint(tables: Tables) -> None:
    await tables.append(whole(ENDED_AT))

    assert await found(tables, NEW) == await found(tables, OLD) == await found(tables, NEW, OLD) == []
    note = (tables.folder / "checkpoint").read_bytes()
    assert open_checkpoint(note, [NEW, OLD]).signers == (NEW, OLD)
    await tables.append(whole(SIZE))  # and not any more, once it has ended
    for files in (True, False):
        with pytest.raises(CliError, match="that key has ended, and another succeeds it"):
            await asyncio.to_thread(lambda files=files: tables.verify(OLD, files=files))


async def test_an_earlier_key_that_no_entry_lists_must_be_given(tables: Tables) -> None:
    await tables.append(whole(SIZE, stated={}))

    messages = await found(tables, NEW)

    assert f"checkpoint 300: the checkpoint has no signature by {NEW}" in messages
    assert not any("checkpoint 400" in message for message in messages)
    assert await found(tables, NEW, OLD) == []


async def test_a_row_signed_by_a_stranger_is_named(tables: Tables) -> None:
    await tables.append(whole(SIZE))
    await tables.resign(200, STRANGER)

    [message] = await found(tables)

    assert message.startswith(f"checkpoint 200: the checkpoint has no signature by {NEW}")


async def test_what_a_key_signs_alone_after_its_end_is_named(tables: Tables) -> None:
    await tables.append(whole(SIZE))
    await tables.resign(600, FIRST)
    await tables.resign(400, FIRST)

    [message] = await found(tables)

    assert message.startswith(f"checkpoint 600: it is signed with {OLD} alone, which had ended: entry {ENDED_AT} names")


async def test_a_directory_that_no_verified_entry_names_vouches_for_nothing(tables: Tables) -> None:
    whole_ledger = whole(SIZE)
    listing = version([], OLD, STRANGER.named(ORIGIN), root=STRANGER)
    await tables.append(whole_ledger)
    await tables.resign(200, STRANGER)
    async with tables.changing() as admin:  # its payload is put in the place of another, which the leaf does not name
        await admin.execute("UPDATE payload SET content = $2 WHERE index = $1", LISTED_AT, listing)

    messages = await found(tables)

    assert any(f"signed with {STRANGER.named(ORIGIN)}, which nobody vouches for" in text for text in messages), messages
    assert f"the payload of entry {LISTED_AT} is not the one that its leaf names" in messages


async def test_a_checkpoint_kept_before_the_change_is_continued_and_so_is_a_verification(
    tables: Tables, tmp_path: Path
) -> None:
    kept, state, files_state = tmp_path / "kept", tmp_path / "state", tmp_path / "files"
    await tables.append(whole(300))
    kept.write_bytes((tables.folder / "checkpoint").read_bytes())
    assert await found(tables, OLD, resume=state) == []
    assert await found(tables, OLD, files=True, resume=files_state) == []
    await tables.append(whole(SIZE))

    for how in ({"resume": state}, {"files": True, "resume": files_state}, {"files": True}):
        report = await asyncio.to_thread(lambda how=how: tables.verify(since=kept, **how))
        assert (report.findings.faults, report.succeeded) == ([], (OLD,))
        assert report.findings.began == (256 if "resume" in how else 0)
        assert str(kept) in report.earlier


async def test_without_the_entries_signatures_nobody_vouches_for_an_earlier_key(tables: Tables, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    await tables.append(whole(300))
    kept.write_bytes((tables.folder / "checkpoint").read_bytes())
    await tables.append(whole(SIZE))

    with pytest.raises(CliError, match="is no checkpoint of this log") as refused:
        await asyncio.to_thread(lambda: tables.verify(files=True, since=kept, tree_only=True))
    assert "give the earlier key with a second --log-key" in refused.value.advice
    assert await found(tables, NEW, OLD, files=True, since=kept, tree_only=True) == []


async def test_a_rollback_to_before_the_change_is_found_by_what_is_published_and_by_the_key(tables: Tables) -> None:
    await tables.append(whole(SIZE))
    async with tables.changing() as admin:
        await admin.execute("DELETE FROM checkpoint WHERE size > 300")

    [message] = await found(tables)

    assert f"no signature by {NEW}" in message
    assert "rolled back" in " ".join(await found(tables, OLD, NEW))


def test_keys_of_several_logs_are_wrong_usage(tmp_path: Path) -> None:
    other = replace(OLD, name="log.example/other")

    with pytest.raises(CliError, match="the keys given are of several logs"):
        read_log_key(str(NEW), FolderLog(tmp_path), "", [str(other)])
    assert read_log_key(str(NEW), FolderLog(tmp_path), "", [str(OLD)]) == LogKey(NEW, "--log-key", False, (OLD,))
