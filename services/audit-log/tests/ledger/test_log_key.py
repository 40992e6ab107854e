"""The log's keys as files: one is made, listed, leads beside the one before, then alone; at whatever step it dies."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter
from grace_audit_log.adapters.log_key import BEFORE, LEADING, NEXT, FileLogKeys, make_successor
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.ports import Position
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.note import Note, VerifierKey
from grace_common.transparency.tile import TileEdge

from .directories import version
from .fakes import entry

ORIGIN = "grace.local/log"


@dataclass
class Place:
    """A state folder and a publication folder."""

    root: Path
    versions: list[bytes] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def publication(self) -> Path:
        return self.root / "log"

    def keys(self) -> FileLogKeys:
        """The keys as a process finds them that starts now."""
        return FileLogKeys(self.state, ORIGIN, tuple, self.publication)

    def publish(self, signed: bytes) -> None:
        self.versions.append(signed)
        file = self.publication / f"keys/{len(self.versions):04}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(signed)

    def succeed(self) -> tuple[VerifierKey, VerifierKey]:
        return make_successor(self.state, ORIGIN, self.publication)

    def checkpoint(self, log: LogIdentity) -> bytes:
        note = log.checkpoint(TileEdge(), None)[1]
        self.publication.mkdir(exist_ok=True)
        (self.publication / "checkpoint").write_bytes(note)
        return note

    def names(self) -> set[str]:
        return {file.name for file in self.state.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log whose first key the first version of the key directory lists."""
    place = Place(tmp_path)
    first = place.keys().identity().key
    place.publish(version([], first))
    return place


def listing_both(place: Place) -> tuple[VerifierKey, VerifierKey, bytes]:
    first, second = place.succeed()
    return first, second, version(place.versions, first, second)


def test_a_key_that_was_made_signs_nothing_until_a_directory_lists_it(place: Place) -> None:
    keys = place.keys()
    first, second, listed = listing_both(place)

    assert keys.identity().keys == place.keys().identity().keys == (first,)

    assert keys.follow([listed]).keys == (second, first)
    note = Note.parse(place.checkpoint(keys.identity()))
    assert [line.is_by(key) for line, key in zip(note.signatures, (second, first), strict=True)] == [True, True]
    assert note.verified_by([first, second])
    assert place.keys().identity().keys == (second, first)
    assert {(place.state / name).stat().st_mode & 0o777 for name in (LEADING, BEFORE)} == {0o600}


def test_the_key_before_signs_no_more_once_a_directory_says_that_it_has_ended(place: Place) -> None:
    keys = place.keys()
    first, second, listed = listing_both(place)
    keys.follow([listed])
    place.publish(listed)
    both = place.checkpoint(keys.identity())

    assert keys.follow([version(place.versions, second, ended=[first])]).keys == (second,)

    assert len(Note.parse(both).signatures) == 2
    assert len(Note.parse(place.checkpoint(keys.identity())).signatures) == 1


def test_the_private_half_of_an_ended_key_goes_once_its_successors_checkpoint_is_published(place: Place) -> None:
    keys = place.keys()
    first, second, listed = listing_both(place)
    place.checkpoint(keys.identity())
    keys.follow([listed, version([*place.versions, listed], second, ended=[first])])

    keys.settle()
    assert place.names() == {LEADING, BEFORE}
    place.checkpoint(keys.identity())
    keys.settle()
    keys.settle()

    assert place.names() == {LEADING}
    assert keys.identity().keys == (second,)


def test_what_a_process_did_not_hear_it_reads_beside_the_log(place: Place) -> None:
    running = place.keys()
    first, second, listed = listing_both(place)

    place.publish(listed)
    assert place.keys().identity().keys == (second, first)
    assert running.identity().keys == (second, first)  # another instance has changed the files
    place.checkpoint(running.identity())
    place.publish(version(place.versions, second, ended=[first]))
    running.settle()

    assert running.identity().keys == place.keys().identity().keys == (second,)
    assert place.names() == {LEADING}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_change_that_was_cut_short_is_finished_at_the_next_start(place: Place, steps: int) -> None:
    first, second, listed = listing_both(place)
    if steps > 0:
        os.link(place.state / LEADING, place.state / BEFORE)
        assert place.keys().identity().keys == (first,)
        assert place.succeed() == (first, second)
    place.publish(listed)
    if steps > 1:
        os.replace(place.state / NEXT, place.state / LEADING)

    assert place.keys().identity().keys == (second, first)
    assert place.names() == {LEADING, BEFORE}


def test_the_command_begun_again_names_the_same_key_and_a_third_is_refused_while_two_sign(place: Place) -> None:
    first, second = place.succeed()
    assert place.succeed() == (first, second)
    place.publish(version(place.versions, first, second))
    keys = place.keys()

    with pytest.raises(Refused, match=r"two keys sign this log already.*grace keys retire log"):
        place.succeed()

    place.checkpoint(keys.identity())
    place.publish(version(place.versions, second, ended=[first]))
    keys.settle()
    assert place.succeed()[0] == second


def test_a_successor_is_made_only_where_a_directory_could_list_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(Refused, match="start the audit-log first"):
        place.succeed()
    place.keys()

    with pytest.raises(Refused, match="`grace keys directory` first"):
        place.succeed()
    assert place.names() == {LEADING}


def test_a_strangers_key_in_the_directory_changes_nothing(place: Place) -> None:
    keys = place.keys()
    first, _ = place.succeed()

    listed = version(place.versions, first, SeededKey("stranger").named(ORIGIN))

    assert keys.follow([listed]).keys == (first,)
    assert place.names() == {LEADING, NEXT}


def test_a_directory_that_does_not_follow_those_before_is_not_heard(place: Place) -> None:
    keys = place.keys()
    first, second = place.succeed()

    thiefs = version(place.versions, first, second, root=SeededKey("thief"))
    skipping = version([*place.versions, b"missing"], first, second)

    assert keys.follow([thiefs, skipping, b"no directory"]).keys == (first,)
    assert keys.follow([version(place.versions, first, second)]).keys == (second, first)


def test_a_key_that_ended_does_not_lead_when_an_older_copy_is_put_back(place: Place) -> None:
    old = (place.state / LEADING).read_bytes()
    first, second, listed = listing_both(place)
    place.publish(listed)
    place.publish(version(place.versions, second, ended=[first]))
    place.checkpoint(place.keys().identity())
    place.keys().settle()
    (place.state / LEADING).write_bytes(old)

    with pytest.raises(Refused, match="has ended: an older copy was put back"):
        place.keys()


def test_a_key_file_that_others_can_read_is_refused(place: Place) -> None:
    place.succeed()
    (place.state / NEXT).chmod(0o640)

    with pytest.raises(Refused, match="chmod 600"):
        place.keys()
    with pytest.raises(Refused, match="chmod 600"):
        place.succeed()


def test_a_running_log_goes_on_with_the_keys_in_its_memory_when_their_files_go(place: Place) -> None:
    keys = place.keys()
    before = keys.identity()

    (place.state / LEADING).unlink()

    assert keys.identity() == keys.identity() == before
    assert keys.follow([version(place.versions, before.key, SeededKey("x").named(ORIGIN))]) == before


async def grown(url: str, log: FileLogKeys | LogIdentity, leaves: int) -> None:
    """Commit so many entries more."""
    writer = PostgresLedgerWriter(url, log, FixedClock())
    head = await writer.take_over()
    new = [entry(number) for number in range(head.edge.size, head.edge.size + leaves)]
    await writer.append(grow(head, [one.leaf for one in new], log.identity()), new, Position(0, head.edge.size))
    await writer.release()


async def test_the_writer_goes_on_from_a_checkpoint_of_any_of_its_keys_and_refuses_an_older_copy_of_its_folder(
    place: Place, database_url: str
) -> None:
    old = (place.state / LEADING).read_bytes()
    await grown(database_url, place.keys(), 3)
    first, second, listed = listing_both(place)
    place.publish(listed)
    await grown(database_url, place.keys(), 3)
    await grown(database_url, place.keys(), 3)

    new = (place.state / LEADING).read_bytes()
    (place.state / LEADING).write_bytes(old)  # the state folder as it was before the change
    (place.state / BEFORE).unlink()
    with pytest.raises(Refused, match="was signed by a newer key"):
        await grown(database_url, place.keys(), 1)
    (place.state / LEADING).write_bytes(new)

    await grown(database_url, place.keys(), 1)  # alone it goes on from what both signed
    (place.state / LEADING).write_bytes(old)
    with pytest.raises(Refused, match="was not signed by this log's key"):
        await grown(database_url, place.keys(), 1)
    assert first != second
