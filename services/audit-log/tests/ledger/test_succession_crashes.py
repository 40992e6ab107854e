"""The log's key is succeeded while the process dies at any step: no checkpoint is signed by less than it must be."""

from itertools import groupby
from pathlib import Path

import pytest
from grace_audit_log.adapters.log_key import LEADING, FileLogKeys, make_successor
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.handlers.publishing import Publishing
from grace_audit_log.handlers.recent import RecentEntries
from grace_audit_log.handlers.sealing import Sealing
from grace_common.runtime.seal import SealedRecord
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED

from .directories import version
from .fakes import LOG, Crash, Failures, MemoryLedger, MemoryTopic
from .test_handlers import record

ORIGIN = LOG.key.name


class World:
    """What survives a crash: the ledger, the files, the topic, the state folder. `start` makes the process anew."""

    def __init__(self, folder: Path, crashes: set[int]) -> None:
        failures = Failures()
        self.state, self.published = folder / "state", folder / "log"
        self.ledger, self.topic = MemoryLedger(failures), MemoryTopic(failures)
        self.start()
        self.first = self.keys.identity().key
        failures.at = crashes
        self.offset = 0

    def start(self) -> None:
        self.keys = FileLogKeys(self.state, ORIGIN, tuple, self.published)
        recent = RecentEntries(self.ledger)
        self.sealing = Sealing(self.ledger, self.ledger, self.keys, recent)
        files = FolderPublication(self.published)
        self.publishing = Publishing(self.sealing, self.ledger, recent, files, self.topic, self.keys, look_every_s=0.01)

    async def take(self, number: int, **changes: str) -> None:
        """Seal and publish one record more, with a new process after each crash."""
        self.offset += 1
        records: list[SealedRecord] = [record(number, self.offset, **changes)]
        while True:
            try:
                await self.sealing.handle(records)
                await self.publishing.publish_newest()
                return
            except Crash:
                self.start()

    async def name(self, number: int, signed: bytes) -> None:
        payload = signed.decode()
        await self.take(number, entry_type=KEY_DIRECTORY_PUBLISHED, payload=payload, leaf=payload)

    def signers(self, second: VerifierKey) -> list[tuple[VerifierKey, ...]]:
        """Who signed the checkpoints, run after run; the empty tree's is the fake ledger's own."""
        notes = [note for _, note in self.ledger.heads[1:]]
        return [keys for keys, _ in groupby(open_checkpoint(note, [second, self.first]).signers for note in notes)]


@pytest.mark.parametrize("crash", range(1, 32))
async def test_whatever_step_it_dies_at_both_sign_in_between_and_the_newer_alone_in_the_end(
    crash: int, tmp_path: Path
) -> None:
    world = World(tmp_path, {crash, crash + 3})
    world.ledger.heads.clear()
    versions = [version([], world.first)]
    await world.take(1)
    await world.name(2, versions[0])
    _, second = make_successor(world.state, ORIGIN, world.published)
    await world.take(3)
    versions.append(version(versions, world.first, second))
    await world.name(4, versions[1])
    await world.take(5)
    versions.append(version(versions, second, ended=[world.first]))
    await world.name(6, versions[2])
    await world.take(7)

    assert world.signers(second) == [(world.first,), (second, world.first), (second,)]
    assert [head.edge.size for head, _ in world.ledger.heads[1:]] == list(range(1, 8))
    assert {file.name for file in world.state.iterdir()} == {LEADING}
    assert (world.published / "vkey").read_text() == f"{second}\n"
    assert (world.published / "keys/0003.json").read_bytes() == versions[2]


async def test_a_publication_that_was_lost_shows_every_version_of_the_key_directory_again(tmp_path: Path) -> None:
    world = World(tmp_path, set())
    versions = [version([], world.first)]
    await world.name(1, versions[0])
    await world.take(2)
    world.published.rename(tmp_path / "lost")
    world.start()

    await world.take(3)

    assert (world.published / "keys/0001.json").read_bytes() == versions[0]
    assert make_successor(world.state, ORIGIN, world.published)[0] == world.first


async def test_a_published_log_that_was_set_back_to_before_the_change_is_brought_up_again(tmp_path: Path) -> None:
    world = World(tmp_path, set())
    versions = [version([], world.first)]
    await world.name(1, versions[0])
    _, second = make_successor(world.state, ORIGIN, world.published)
    versions.append(version(versions, world.first, second))
    old = (world.published / "checkpoint").read_bytes()
    await world.name(2, versions[1])
    await world.name(3, version(versions, second, ended=[world.first]))
    (world.published / "checkpoint").write_bytes(old)
    world.start()

    await world.take(4)

    newest = open_checkpoint((world.published / "checkpoint").read_bytes(), second)
    assert (newest.checkpoint.size, newest.signers) == (4, (second,))
