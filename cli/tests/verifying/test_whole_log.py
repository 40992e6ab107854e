"""Every change of a published log is found and named to the entry; a verification can be resumed."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from grace_cli.errors import CliError
from grace_common.testing.ledger import MemoryLedger, SeededKey, sign_statement, statement
from grace_common.transparency.tile import WIDTH, decode_bundle, encode_bundle

from .logs import checkpoint_of, extend, ledger_of, operation, verify, write

SIZE = WIDTH * 3 + 40
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    return ledger_of(SIZE, published=(1, 255, 256, 300))


def texts(ledger: MemoryLedger, folder: Path) -> list[str]:
    return [fault.text for fault in verify(ledger, folder).faults]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257])
def test_a_whole_log_has_no_faults(tmp_path: Path, size: int) -> None:
    ledger = ledger_of(size)

    findings = verify(ledger, write(ledger, tmp_path))

    assert (findings.faults, findings.signatures) == ([], size)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_trees_with_a_third_level_of_tiles_verify(tmp_path: Path, size: int) -> None:
    ledger = MemoryLedger()
    ledger.log.append(*(b"entry %d" % number for number in range(size)))
    ledger.log.publish()
    write(ledger, tmp_path)

    assert verify(ledger, tmp_path, tree_only=True, processes=2).faults == []
    changed = tmp_path / ("tile/1/000" if size > 65_535 else "tile/1/000.p/255")
    data = bytearray(changed.read_bytes())
    data[32] ^= 1
    changed.write_bytes(data)
    [fault] = verify(ledger, tmp_path, tree_only=True).faults
    assert str(changed.relative_to(tmp_path)) in fault.text


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    ledger = ledger_of(WIDTH * 40, published=(1000,))
    write(ledger, tmp_path)
    assert verify(ledger, tmp_path, processes=2).faults == []
    flip("tile/entries/030", 5000, tmp_path)

    one, two = verify(ledger, tmp_path), verify(ledger, tmp_path, processes=2)

    assert one == two
    assert {fault.index >> 8 for fault in one.faults} == {30}


def flip(path: str, at: int, folder: Path) -> None:
    data = bytearray((folder / path).read_bytes())
    data[at] ^= 1
    (folder / path).write_bytes(data)


def rearranged(order: Callable[[list[bytes]], list[bytes]], folder: Path) -> None:
    file = folder / "tile/entries/001"
    file.write_bytes(encode_bundle(order(decode_bundle(file.read_bytes()))))


def exchanged(entries: list[bytes]) -> list[bytes]:
    return [*entries[:7], entries[9], entries[8], entries[7], *entries[10:]]


CHANGES: dict[str, tuple[Change, str]] = {
    "a byte of an entry": (partial(flip, "tile/entries/001", 700), "entry 256 is not the one in the tree"),
    "a byte of an entry in the last bundle": (
        partial(flip, "tile/entries/003.p/40", 700),
        "entry 768 is not the one in the tree",
    ),
    "two entries exchanged": (partial(rearranged, exchanged), "entries 263 and 265 were exchanged"),
    "an entry deleted": (partial(rearranged, lambda all: [*all[:7], *all[8:]]), "entry 263 is missing"),
    "an entry inserted": (
        partial(rearranged, lambda all: [*all[:7], b"{}", *all[7:]]),
        "an entry was inserted before entry 263",
    ),
    "an entry added": (partial(rearranged, lambda all: [*all, b"{}"]), "an entry was added after entry 511"),
    "entries cut off": (partial(rearranged, lambda all: all[:9]), "entry 265 and what follows it"),
    "a bundle cut off": (lambda folder: truncate(folder / "tile/entries/002", 100), "ends inside its entry"),
    "a bundle deleted": (lambda folder: (folder / "tile/entries/002").unlink(), "entries 512 to 767, is missing"),
    "a leaf tile": (partial(flip, "tile/0/002", 77), "tile/0/002 is not what its entries hash to"),
    "a leaf tile cut off": (lambda folder: truncate(folder / "tile/0/002", 64), "tile/0/002 has 64 bytes"),
    "a leaf tile deleted": (lambda folder: (folder / "tile/0/002").unlink(), "tile/0/002, with entries 512"),
    "the last leaf tile": (partial(flip, "tile/0/003.p/40", 5), "tile/0/003.p/40 is not what its entries hash to"),
    "a tile above": (partial(flip, "tile/1/000.p/3", 5), "tile/1/000.p/3 is not what the tiles below it"),
    "a tile above deleted": (lambda folder: (folder / "tile/1/000.p/3").unlink(), "tile/1/000.p/3 is missing"),
    "a partial tile of an older checkpoint": (
        partial(flip, "tile/0/000.p/255", 5),
        "tile/0/000.p/255, of an older checkpoint, is not what tile/0/000 begins with",
    ),
    "a partial bundle of an older checkpoint": (
        lambda folder: truncate(folder / "tile/entries/001.p/44", 9),
        "tile/entries/001.p/44, of an older checkpoint, is not",
    ),
}


def truncate(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_of_a_file_is_found_and_named(ledger: MemoryLedger, tmp_path: Path, what: str) -> None:
    change, named = CHANGES[what]
    write(ledger, tmp_path)

    change(tmp_path)

    found = texts(ledger, tmp_path)
    assert any(named in text for text in found), found


def test_a_bundle_rewritten_with_its_tile_is_named_by_the_tile_above(ledger: MemoryLedger, tmp_path: Path) -> None:
    other = ledger_of(SIZE)
    other.log.entries[300] = other.log.entries[301]
    forged = MemoryLedger()
    forged.log.append(*other.log.entries)
    forged.log.publish()
    write(ledger, tmp_path)
    for path in ("tile/entries/001", "tile/0/001"):
        (tmp_path / path).write_bytes(forged.log.files[path])

    assert "entries 256 to 511 were changed together with their tiles" in "; ".join(texts(ledger, tmp_path))


def test_a_log_rewritten_whole_does_not_reach_the_signed_root(ledger: MemoryLedger, tmp_path: Path) -> None:
    forged = ledger_of(SIZE)
    forged.log.entries[300] = forged.log.entries[301]
    again = MemoryLedger()
    again.log.append(*forged.log.entries)
    again.log.publish()

    found = texts(ledger, write(again, tmp_path))

    assert any("not the signed one" in text for text in found)


def with_entry(ledger: MemoryLedger, leaf: bytes) -> MemoryLedger:
    ledger.log.append(leaf)
    ledger.log.publish()
    return ledger


def test_an_entry_needs_a_key_that_was_announced_for_its_operation_before(tmp_path: Path) -> None:
    ledger = ledger_of(20)
    ledger.state("unannounced", "grace.task-submitted.v1", "ada", "nobody", b"{}")
    fact = statement("foreign", "grace.task-submitted.v1", "ada", operation(5), digest="ab" * 32)
    foreign = SeededKey(operation(15))
    with_entry(ledger, sign_statement(fact, foreign.key_id, foreign.sign))

    found = texts(ledger, write(ledger, tmp_path))

    assert "entry 20 is signed with" in found[0]
    assert "no earlier entry announced as a key of operation nobody" in found[0]
    assert "entry 21 is signed with" in found[1]


def test_a_signature_that_does_not_verify_is_named(tmp_path: Path) -> None:
    ledger = ledger_of(20)
    key = SeededKey(operation(5))
    fact = statement("forged", "grace.task-submitted.v1", "ada", operation(5), digest="ab" * 32)
    with_entry(ledger, sign_statement(fact, key.key_id, SeededKey("thief").sign))
    with_entry(ledger, b'{"no":"statement"}')

    found = texts(ledger, write(ledger, tmp_path))

    assert found[0].startswith("entry 20 is no signed statement") or "entry 20: its signature" in found[0]
    assert any("entry 21 is no signed statement" in text for text in found)


def test_keys_announced_chunks_ago_are_known(tmp_path: Path) -> None:
    ledger = ledger_of(WIDTH * 16)
    ledger.state("late", "grace.task-submitted.v1", "ada", operation(5), b"{}")
    ledger.publish_key(SeededKey("second notary"), "notary")
    ledger.log.publish()
    write(ledger, tmp_path)

    assert verify(ledger, tmp_path).faults == []


def test_an_earlier_checkpoint_shows_a_rollback_and_a_rewritten_log(ledger: MemoryLedger, tmp_path: Path) -> None:
    longer, other = ledger_of(SIZE + 5), ledger_of(300)
    other.log.entries[7] = other.log.entries[8]
    rewritten = MemoryLedger()
    rewritten.log.append(*other.log.entries)
    rewritten.log.publish()
    write(ledger, tmp_path)

    assert verify(ledger, tmp_path, earlier=(checkpoint_of(ledger_of(300)),)).faults == []
    [rolled] = verify(ledger, tmp_path, earlier=(checkpoint_of(longer),)).faults
    assert f"rolled back: it had {SIZE + 5} entries" in rolled.text
    [fault] = verify(ledger, tmp_path, earlier=(checkpoint_of(rewritten),)).faults
    assert "its first 300 entries are not those of the earlier checkpoint" in fault.text


def test_a_verification_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    ledger, state = ledger_of(600), tmp_path / "state"
    folder = write(ledger, tmp_path / "log")
    assert verify(ledger, folder, resume=state).began == 0
    extend(ledger, 900)
    ledger.state("late", "grace.task-submitted.v1", "ada", operation(5), b"{}")  # its key was announced before
    ledger.log.publish()

    findings = verify(ledger, write(ledger, folder), resume=state)

    assert (findings.began, findings.signatures, findings.faults) == (512, 901 - 512, [])
    flip("tile/entries/003.p/133", 700, folder)
    assert any("entry 768" in fault.text for fault in verify(ledger, folder, resume=state).faults)


def test_a_verification_goes_on_after_the_ca_was_replaced(tmp_path: Path) -> None:
    ledger, state = ledger_of(600), tmp_path / "state"
    folder = write(ledger, tmp_path / "log")
    verify(ledger, folder, resume=state)
    ledger.replace_ca("next")
    extend(ledger, 900)

    findings = verify(ledger, write(ledger, folder), resume=state)

    assert (findings.began, findings.faults) == (512, [])
    assert verify(ledger, folder).faults == []


def test_a_state_of_a_longer_or_another_log_is_refused(tmp_path: Path) -> None:
    ledger, state = ledger_of(600), tmp_path / "state"
    verify(ledger, write(ledger, tmp_path / "log"), resume=state)
    shorter, other = ledger_of(300), ledger_of(600)
    other.log.entries[7] = other.log.entries[8]
    rewritten = MemoryLedger()
    rewritten.log.append(*other.log.entries)
    rewritten.log.publish()

    with pytest.raises(CliError, match="rolled back"):
        verify(shorter, write(shorter, tmp_path / "shorter"), resume=state)
    with pytest.raises(CliError, match="it was rewritten"):
        verify(rewritten, write(rewritten, tmp_path / "other"), resume=state)


def test_a_damaged_or_foreign_state_is_refused(tmp_path: Path) -> None:
    ledger, state = ledger_of(600), tmp_path / "state"
    folder = write(ledger, tmp_path / "log")
    verify(ledger, folder, resume=state)
    ledger.log.key = SeededKey("other").named("other.example/log")
    with pytest.raises(CliError, match="state of another verification"):
        verify(ledger_of_key(ledger), folder, resume=state)
    with sqlite3.connect(state) as file:
        file.execute("UPDATE key SET public_key = zeroblob(32) WHERE owner = 'notary'")
    with pytest.raises(CliError, match="damaged: Refused: its keys were changed"):
        verify(ledger_of(600), folder, resume=state)
    state.write_bytes(b"no database at all, but long enough to be looked at")
    with pytest.raises(CliError, match="no state of a verification"):
        verify(ledger_of(600), folder, resume=state)


def ledger_of_key(ledger: MemoryLedger) -> MemoryLedger:
    """Return another log's ledger."""
    from grace_common.testing.ledger import MemoryLog

    ledger.log = MemoryLog("other.example/log")
    ledger.log.publish()
    return ledger
