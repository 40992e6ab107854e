"""The static files: what is published, when it may not be, and that an export is the same bytes."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.domain.tree import LogIdentity, grow
from grace_audit_log.handlers.cosigned import COSIGNED
from grace_audit_log.handlers.files import Published, publish, publish_vkey, published
from grace_audit_log.ports import Committed, Position, Publication
from grace_cli.log_files import export, read_log_key
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.tile import TreeReader

from .fakes import KEY, LOG, MemoryFiles, MemoryLedger, entry


async def ledger_of(*sizes: int) -> MemoryLedger:
    """Return a ledger that reached its last size in commits of these sizes."""
    ledger = MemoryLedger()
    head = await ledger.take_over()
    for size in sizes:
        new = [entry(number) for number in range(head.edge.size, size)]
        if new:
            growth = grow(head, [one.leaf for one in new], LOG)
            await ledger.append(growth, new, Position(0, 0))
            head = growth.after
    return ledger


async def bring_up(ledger: MemoryLedger, files: Publication, done: Published | None = None) -> Published:
    newest = await ledger.newest()
    assert newest is not None
    return await publish(ledger, files, LOG.key, published(files, LOG.key) if done is None else done, newest)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537])
async def test_a_log_of_any_size_is_published_as_the_specification_has_it(size: int) -> None:
    files, reference = MemoryFiles(), MemoryLog(LOG.key.name)
    reference.append(*[entry(number).leaf for number in range(size)])
    reference.publish()

    shown = await bring_up(await ledger_of(size), files)

    expected = {path: data for path, data in reference.files.items() if path.startswith("tile/")}
    assert {path: data for path, data in files.files.items() if path.startswith("tile/")} == expected
    assert files.files["vkey"] == f"{LOG.key}\n".encode()
    checkpoint = open_checkpoint(files.files["checkpoint"], LOG.key).checkpoint
    assert (checkpoint.size, checkpoint.root) == (size, shown.edge.root)


async def test_partial_tiles_stay_until_the_full_one_exists_and_no_longer() -> None:
    files, ledger = MemoryFiles(), MemoryLedger()
    for size in (3, 250):
        ledger = await ledger_of(size)
        await bring_up(ledger, files)
    assert {"tile/0/000.p/3", "tile/0/000.p/250", "tile/entries/000.p/3"} <= set(files.files)

    await bring_up(await ledger_of(600), files)

    assert sorted(path for path in files.files if path.startswith("tile/")) == [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ]


async def test_every_published_entry_can_be_proven_from_the_files_in_a_folder(tmp_path: Path) -> None:
    files = FolderPublication(tmp_path / "log")
    for size in (1, 300, 301):
        shown = await bring_up(await ledger_of(size), files)

    tree = TreeReader(files, 301, shown.edge.root)

    assert [tree.entry(number) for number in (0, 255, 256, 300)] == [entry(n).leaf for n in (0, 255, 256, 300)]
    assert not (tmp_path / "log/tile/0/000.p").exists()


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_an_export_is_the_publication_to_the_byte(tmp_path: Path) -> None:
    live, ledger = FolderPublication(tmp_path / "live"), await ledger_of(5_000)
    await bring_up(ledger, live)

    await bring_up(ledger, FolderPublication(tmp_path / "export"))

    assert content(tmp_path / "export") == content(tmp_path / "live")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537])
async def test_what_the_command_line_exports_is_the_publication_to_the_byte(size: int, tmp_path: Path) -> None:
    files = MemoryFiles()
    await bring_up(await ledger_of(size), files)
    key = read_log_key(None, files, "the log")

    def nothing(entries: int) -> None:
        pass

    export(files, key, tmp_path, nothing, nothing)

    assert content(tmp_path) == files.files


async def test_nothing_is_written_twice() -> None:
    files, ledger = MemoryFiles(), await ledger_of(300)
    shown = await bring_up(ledger, files)
    written = files.failures.calls

    assert await bring_up(ledger, files) == shown
    assert files.failures.calls == written


async def test_files_that_do_not_lead_to_their_checkpoint_are_made_anew() -> None:
    files, ledger = MemoryFiles(), await ledger_of(300)
    await bring_up(ledger, files)
    good = dict(files.files)
    for spoil in ({"tile/0/001.p/44": bytes(44 * 32)}, {"tile/0/001.p/44": b""}):
        files.files |= spoil
        await bring_up(ledger, files)
        assert files.files == good
    del files.files["tile/1/000.p/1"]
    await bring_up(ledger, files)
    assert files.files == good


async def test_a_database_set_back_to_an_older_state_is_refused() -> None:
    files = MemoryFiles()
    await bring_up(await ledger_of(300), files)

    with pytest.raises(Refused, match="older state"):
        await bring_up(await ledger_of(299), files)
    assert open_checkpoint(files.files["checkpoint"], LOG.key).checkpoint.size == 300


async def test_a_database_that_holds_another_tree_is_refused_and_nothing_is_published() -> None:
    files = MemoryFiles()
    await bring_up(await ledger_of(10), files)
    checkpoint = files.files["checkpoint"]
    ledger = await ledger_of(10, 20)
    ledger.entries[12] = entry(99)

    with pytest.raises(Refused, match="changed from outside"):
        await bring_up(ledger, files)
    assert files.files["checkpoint"] == checkpoint


async def test_a_folder_with_the_log_of_another_key_is_refused() -> None:
    files, other = MemoryFiles(), MemoryLog()
    other.publish()
    files.files |= other.files

    with pytest.raises(Refused, match="another log"):
        await bring_up(await ledger_of(1), files)


def shown(folder: Path) -> dict[str, bytes]:
    """Every file that a folder shows to strangers."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel takes a part of what is written beyond, as a disk does that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_no_half_file_is_published_while_the_disk_becomes_full(tmp_path: Path) -> None:
    files, ledger = FolderPublication(tmp_path), await ledger_of(300)
    with files_of_at_most(1_000), pytest.raises(OSError, match="No space left on device"):
        await bring_up(ledger, files)
    assert shown(tmp_path) == {}

    await bring_up(ledger, files)

    in_memory = MemoryFiles()
    await bring_up(ledger, in_memory)
    assert shown(tmp_path) == in_memory.files


def test_a_file_that_is_not_there_is_unready(tmp_path: Path) -> None:
    with pytest.raises(Unready, match="tile/0/000"):
        FolderPublication(tmp_path).read("tile/0/000")


async def test_the_vkey_is_the_newest_key_that_signed_every_checkpoint_a_reader_may_meet() -> None:
    files, successor = MemoryFiles(), SeededKey("successor")
    new, old = successor.named(LOG.key.name), LOG.key
    before, both = log_note(LOG, 2), log_note(LogIdentity(new, successor.sign, others=((old, KEY.sign),)), 3)
    files.files |= {"vkey": f"{old}\n".encode(), "checkpoint": before, COSIGNED: before}

    def shown(newest: bytes, *keys: VerifierKey) -> VerifierKey:
        chosen = publish_vkey(files, keys, newest)
        assert files.files["vkey"] == f"{chosen}\n".encode()
        return chosen

    assert shown(both, new, old) == old  # who reads it before the checkpoint is replaced finds the two to agree
    files.files["checkpoint"] = both
    assert shown(both, new, old) == old  # the witness is a second behind
    files.files[COSIGNED] = both
    assert shown(both, new, old) == new
    written = files.failures.calls
    assert shown(both, new, old) == new
    assert files.failures.calls == written
    files.files["vkey"] = f"{old}\n".encode()
    assert shown(log_note(LogIdentity(new, successor.sign), 4), new) == new


async def test_the_vkey_follows_the_witness_where_no_entry_comes() -> None:
    files, ledger, successor = MemoryFiles(), await ledger_of(3), SeededKey("successor")
    both = LogIdentity(successor.named(LOG.key.name), successor.sign, others=((LOG.key, KEY.sign),))
    files.files[COSIGNED] = log_note(LOG, 2)
    newest = replace(await newest_of(ledger), note=log_note(both, 3, (await newest_of(ledger)).root))

    done = await publish(ledger, files, both.keys, Published(), newest)
    assert files.files["vkey"] == f"{LOG.key}\n".encode()
    assert (await publish(ledger, files, both.keys, done, newest)).vkey == LOG.key
    files.files[COSIGNED] = newest.note

    assert (await publish(ledger, files, both.keys, done, newest)).vkey == both.key
    assert files.files["vkey"] == f"{both.key}\n".encode()


def log_note(log: LogIdentity, size: int, root: bytes = b"r" * 32) -> bytes:
    """Return a checkpoint of this log, whatever its tree."""
    return sign_checkpoint(Checkpoint(log.key.name, size, root), log.key, log.sign, *log.others)


async def newest_of(ledger: MemoryLedger) -> Committed:
    newest = await ledger.newest()
    assert newest is not None
    return newest
