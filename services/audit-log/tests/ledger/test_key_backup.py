"""The log's keys in a backup: sealed to the root, and unable to sign a fork when they are put back."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from grace_audit_log.adapters.key_backup import back_up
from grace_audit_log.adapters.ledger_store import PostgresLedgerReader, PostgresLedgerWriter, connect
from grace_audit_log.adapters.log_key import FileLogKeys
from grace_audit_log.domain.tree import Head, grow
from grace_audit_log.ports import Position
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.root_seal import LEADING, LEAST, LogKeys, SealedLogKeys, seal_to_root
from grace_common.testing.clock import FixedClock

from .directories import version
from .fakes import entry
from .test_log_key import ORIGIN, Place, grown, listing_both

ROOT = "root"
OPENING = X25519PrivateKey.generate()
PUBLIC = OPENING.public_key().public_bytes_raw()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    first = place.keys().identity().key
    place.publish(version([], first))
    place.checkpoint(place.keys().identity())
    return place


def backed_up(place: Place) -> SealedLogKeys:
    made = back_up(place.state, ORIGIN, place.publication, PUBLIC, ROOT)
    assert made is not None
    return SealedLogKeys.parse(json.loads(json.dumps(made.as_object())))


def put_back(place: Place, sealed: SealedLogKeys) -> None:
    """Restore into an empty state folder, as the crypto-signer does."""
    keys = sealed.open(OPENING, ROOT)
    place.state.rename(place.root / "lost")
    place.state.mkdir()
    for name, data in {**keys.files, LEAST: keys.checkpoint}.items():
        (place.state / name).write_bytes(data)
        (place.state / name).chmod(0o600)


def test_only_the_root_opens_what_leaves_the_process(place: Place) -> None:
    place.succeed()
    sealed = backed_up(place)

    keys = sealed.open(OPENING, ROOT)

    assert keys.files == {name: (place.state / name).read_bytes() for name in place.names()}
    assert len(keys.files) == 2
    assert keys.checkpoint == (place.publication / "checkpoint").read_bytes()
    assert b"PRIVATE" not in sealed.sealed
    for opening, root in ((X25519PrivateKey.generate(), ROOT), (OPENING, "another root")):
        with pytest.raises(Refused, match="does not open with the root"):
            sealed.open(opening, root)


def test_before_there_is_a_key_or_a_log_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert back_up(place.state, ORIGIN, place.publication, PUBLIC, ROOT) is None
    place.keys()

    with pytest.raises(Refused, match="start the audit-log first"):
        back_up(place.state, ORIGIN, place.publication, PUBLIC, ROOT)


def test_what_others_can_read_or_another_log_signed_is_not_backed_up(place: Place) -> None:
    (place.state / LEADING).chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        backed_up(place)
    (place.state / LEADING).unlink()
    place.keys()

    with pytest.raises(Refused, match="no signature"):
        backed_up(place)


def test_what_is_no_backup_of_the_logs_keys_is_told(place: Place) -> None:
    good = backed_up(place)

    for stored in (None, [], {}, {"vkeys": {}, "sealed": "?"}, {"vkeys": 1, "sealed": ""}):
        with pytest.raises(Refused, match="no backup of the log's keys"):
            SealedLogKeys.parse(stored)
    with pytest.raises(Refused, match="nothing can be sealed"):
        seal_to_root(b"secret", b"short", ROOT, "what")
    stranger = SealedLogKeys.seal(LogKeys({"../evil": b"x"}, b""), {"../evil": "x"}, PUBLIC, ROOT)
    other = SealedLogKeys({"log-key-next.pem": good.vkeys[LEADING]}, good.sealed)
    none = SealedLogKeys({}, seal_to_root(b"[]", PUBLIC, ROOT, "grace/log-keys/v1"))
    for sealed in (stranger, other, none):
        with pytest.raises(Refused, match="what is sealed as the log's keys"):
            sealed.open(OPENING, ROOT)
    assert b64encode(good.sealed).decode() == good.as_object()["sealed"]


async def published(place: Place, url: str) -> None:
    """Publish the newest checkpoint of the tables."""
    reader = PostgresLedgerReader(url)
    newest = await reader.newest()
    await reader.close()
    assert newest is not None
    (place.publication / "checkpoint").write_bytes(newest.note)


async def test_restored_keys_go_on_with_the_ledger_that_they_signed(place: Place, database_url: str) -> None:
    await grown(database_url, place.keys(), 3)
    await published(place, database_url)
    sealed = backed_up(place)
    await grown(database_url, place.keys(), 3)

    put_back(place, sealed)
    await grown(database_url, place.keys(), 3)
    await grown(database_url, place.keys(), 3)


async def test_restored_keys_begin_no_other_history(place: Place, database_url: str) -> None:
    place.checkpoint(place.keys().identity())
    await grown(database_url, place.keys(), 2)
    log = place.keys()
    fork = log.identity().checkpoint(
        grow(await head_of(database_url, log), [b"other"], log.identity()).after.edge, None
    )
    (place.publication / "checkpoint").write_bytes(fork[1])  # of three entries; the tables have two

    put_back(place, backed_up(place))

    with pytest.raises(Refused, match="lacks the checkpoint of 3 entries"):
        await grown(database_url, place.keys(), 1)
    (place.state / LEAST).rename(place.root / LEAST)
    await grown(database_url, place.keys(), 1)  # now the tables have three as well, and these are others
    (place.root / LEAST).rename(place.state / LEAST)
    with pytest.raises(Refused, match="would sign another history"):
        await grown(database_url, place.keys(), 1)


async def test_restored_keys_begin_no_new_log_where_the_tables_are_empty(place: Place, database_url: str) -> None:
    put_back(place, backed_up(place))

    with pytest.raises(Refused, match="begins a new log with a new key"):
        await grown(database_url, place.keys(), 1)

    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM checkpoint") == 0
    await connection.close()


async def test_a_backup_of_before_the_keys_succession_signs_nothing_any_more(place: Place, database_url: str) -> None:
    await grown(database_url, place.keys(), 3)
    await published(place, database_url)
    old = backed_up(place)
    first, second, listed = listing_both(place)
    place.publish(listed)
    await grown(database_url, place.keys(), 3)
    kept = place.root / "kept"
    put_back(place, old)
    (place.root / "lost").rename(kept)

    with pytest.raises(Refused, match="was signed by a newer key"):
        await grown(database_url, place.keys(), 1)

    place.state.rename(place.root / "restored")
    kept.rename(place.state)
    ending = version(place.versions, second, ended=[first])
    running = place.keys()
    running.follow([ending])
    await grown(database_url, running, 3)
    put_back(place, old)
    with pytest.raises(Refused, match="was not signed by this log's key"):
        await grown(database_url, place.keys(), 1)
    place.publish(ending)
    with pytest.raises(Refused, match="has ended: an older copy was put back"):
        place.keys()


async def test_of_two_logs_with_one_key_one_writes_and_what_the_other_made_is_not_committed(
    place: Place, database_url: str, tmp_path: Path
) -> None:
    await grown(database_url, place.keys(), 3)
    await published(place, database_url)
    copy = Place(tmp_path / "copy")
    copy.publication.mkdir(parents=True)
    copy.state.mkdir()
    keys = backed_up(place).open(OPENING, ROOT)
    for name, data in {**keys.files, LEAST: keys.checkpoint}.items():
        (copy.state / name).write_bytes(data)
        (copy.state / name).chmod(0o600)
    first, second = (PostgresLedgerWriter(database_url, one.keys(), FixedClock()) for one in (place, copy))
    head = await first.take_over()

    with pytest.raises(Unready, match="another audit-log writes"):
        await second.take_over()
    await first.release()
    stale = await second.take_over()
    await second.release()
    await grown(database_url, place.keys(), 1)
    await second.take_over()
    growth = grow(stale, [b"fork"], copy.keys().identity())
    with pytest.raises(Unready, match="has grown without this writer"):
        await second.append(growth, [entry(99)], Position(0, 99))
    await second.release()
    assert head == stale


async def head_of(url: str, log: FileLogKeys) -> Head:
    writer = PostgresLedgerWriter(url, log, FixedClock())
    head = await writer.take_over()
    await writer.release()
    return head
