"""The two loops, with crashes between any two steps."""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from grace_audit_log.domain.tree import LogIdentity
from grace_audit_log.handlers.publishing import Publishing
from grace_audit_log.handlers.recent import RecentEntries
from grace_audit_log.handlers.sealing import Sealing
from grace_audit_log.ports import Publication
from grace_common.contract import envelope
from grace_common.contract.errors import Unready
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.runtime.stream import Displaced
from grace_common.testing.ledger import MemoryLedger as SignedLedger
from grace_common.testing.ledger import SeededKey
from grace_common.transparency import merkle
from grace_common.transparency.checkpoint import CA_EXTENSION, ca_extension, open_checkpoint
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED
from grace_common.transparency.tile import TreeReader
from hypothesis import given, settings
from hypothesis import strategies as st

from .fakes import KEY, LOG, Crash, Failures, MemoryFiles, MemoryLedger, MemoryTopic, entry


def record(number: int, offset: int = 0, **changes: object) -> SealedRecord:
    """Return entry `number` as the crypto-signer states it."""
    one = entry(number)
    data = {
        "entry_id": one.entry_id,
        "leaf": one.leaf.decode(),
        "entry_type": one.entry_type,
        "operation_id": one.operation_id,
        "correlation": one.correlation,
        "actor": one.actor,
        "service": one.service,
        "time": one.time,
    }
    value = orjson.dumps({"type": "grace.entries-notarized.v1", "data": {"entries": [data | changes]}})
    return SealedRecord(
        topic="grace.signature.v1",
        partition=0,
        offset=offset,
        key=b"log",
        value=value,
        timestamp=datetime.now(UTC),
        signer=Signer("service/crypto-signer", "key"),
    )


class World:
    """What survives a crash: the ledger, the files, the topic. `start` makes the process anew."""

    def __init__(self, crashes: set[int] | None = None) -> None:
        failures = Failures(crashes or set())
        self.ledger = MemoryLedger(failures)
        self.files = MemoryFiles(failures)
        self.topic = MemoryTopic(failures)
        self.start()

    def start(self) -> None:
        self.recent = RecentEntries(self.ledger)
        self.sealing = Sealing(self.ledger, self.ledger, LOG, self.recent)
        self.publishing = self.publishing_to(self.files)

    def publishing_to(self, files: Publication) -> Publishing:
        return Publishing(self.sealing, self.ledger, self.recent, files, self.topic, LOG, look_every_s=0.01)

    async def deliver(self, records: Sequence[SealedRecord]) -> None:
        """Hand over a batch until it is handled, with a new process after each crash, as Kafka and a supervisor do."""
        while True:
            try:
                await self.sealing.handle(records)
                return
            except Crash:
                self.start()

    async def publish(self) -> None:
        while True:
            try:
                await self.publishing.publish_newest()
                return
            except Crash:
                self.start()

    def told(self) -> dict[int, UUID]:
        events = [envelope.open(value).event for value in self.topic.values]
        sealed = [event for event in events if isinstance(event, EntriesSealed)]
        return {one.index: one.entry_id for event in sealed for one in event.entries}


batches = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=6)


@given(batches, st.sets(st.integers(1, 60)))
@settings(deadline=None)
def test_copies_and_crashes_at_any_step_change_neither_the_tree_nor_what_is_told(
    numbers: list[list[int]], crashes: set[int]
) -> None:
    async def run() -> World:
        world, offset = World(crashes), 0
        for batch in numbers:
            records = [record(number, offset + at) for at, number in enumerate(batch)]
            offset += len(batch)
            await world.deliver(records)
            await world.publish()
        return world

    world = asyncio.run(run())

    firsts = list(dict.fromkeys(number for batch in numbers for number in batch))
    assert [one.entry_id for one in world.ledger.entries] == [entry(number).entry_id for number in firsts]
    root = merkle.root_hash(merkle.leaf_hashes([one.leaf for one in world.ledger.entries]))
    assert world.ledger.heads[-1][0].checkpoint.root == root
    assert TreeReader(world.files, len(firsts), root).entry(0) == world.ledger.entries[0].leaf
    assert world.told() == {index: one.entry_id for index, one in enumerate(world.ledger.entries)}
    last = envelope.open(world.topic.values[-1]).event
    assert isinstance(last, (CheckpointPublished, EntriesSealed))
    assert last.tree_size == len(firsts)


def directory(offset: int, payload: bytes) -> SealedRecord:
    """Return the entry that names a signed key directory, as the crypto-signer states it."""
    kind = KEY_DIRECTORY_PUBLISHED
    return record(50, offset, entry_type=kind, payload=payload.decode(), leaf=payload.decode())


@pytest.mark.parametrize("crash", range(1, 12))
async def test_a_version_of_the_key_directory_lies_beside_the_log_after_any_crash(crash: int) -> None:
    world = World({crash})
    ledger = SignedLedger()
    _, signed = ledger.publish_directory(ledger.directory())

    await world.deliver([record(1), directory(1, signed)])
    await world.publish()

    assert world.files.read("keys/0001.json") == signed


async def test_a_key_directory_that_is_lost_comes_back_and_one_that_cannot_be_read_is_passed_over() -> None:
    world = World()
    ledger = SignedLedger()
    _, signed = ledger.publish_directory(ledger.directory())
    await world.deliver([directory(0, signed)])
    await world.publish()
    del world.files.files["keys/0001.json"]

    await world.deliver([directory(1, signed), record(2, 2, entry_type=KEY_DIRECTORY_PUBLISHED, payload="e30=")])
    await world.publish()

    assert world.files.read("keys/0001.json") == signed
    assert len(world.ledger.entries) == 2


async def test_what_comes_again_is_told_again_so_that_its_sender_can_forget_it() -> None:
    world = World()
    await world.deliver([record(1), record(2)])
    await world.publish()
    world.topic.values.clear()

    await world.deliver([record(2, 7), record(2, 8)])
    await world.publish()

    assert world.told() == {1: entry(2).entry_id}
    assert len(world.ledger.entries) == 2


async def test_a_record_without_an_entry_does_not_stop_the_ledger() -> None:
    world = World()

    await world.deliver([record(1), record(2, 1, entry_id="no id"), record(3, 2)])

    assert [one.entry_id for one in world.ledger.entries] == [entry(1).entry_id, entry(3).entry_id]


async def test_reading_begins_behind_the_last_record_that_the_ledger_contains() -> None:
    world = World()
    assert await world.sealing.start_at("grace.signature.v1", 0) is None

    await world.deliver([record(1, 41)])

    assert await world.sealing.start_at("grace.signature.v1", 0) == 42


async def test_a_second_instance_stands_by_and_takes_over() -> None:
    world = World()
    world.ledger.taken = True
    handling = asyncio.create_task(world.sealing.handle([record(1)]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(handling), 0.05)
    with pytest.raises(Unready, match="standing by"):
        await world.publishing.check()

    world.ledger.taken = False
    with pytest.raises(Displaced, match="goes on after its last record"):
        await handling  # for the other one may have sealed these records, and later ones
    assert await world.sealing.start_at("grace.signature.v1", 0) is None
    await world.sealing.handle([record(1)])

    assert len(world.ledger.entries) == 1


async def test_a_writer_that_lost_its_place_reads_the_tree_anew() -> None:
    world, other = World(), World()
    await world.deliver([record(1)])
    other.ledger = world.ledger
    other.start()
    await other.deliver([record(2)])

    await world.deliver([record(3)])

    root = merkle.root_hash(merkle.leaf_hashes([entry(number).leaf for number in (1, 2, 3)]))
    assert world.ledger.heads[-1][0].checkpoint.root == root


async def until(publishing: Publishing, missing: str | None) -> None:
    """Wait until the publication is ready, or lacks what `missing` says."""
    async with asyncio.timeout(10):
        while True:
            try:
                await publishing.check()
                found = None
            except Unready as error:
                found = str(error)
            if found == missing or (found and missing and missing in found):
                return
            await asyncio.sleep(0.01)


async def test_the_loop_publishes_what_is_committed_and_is_ready_then() -> None:
    world = World()
    await world.deliver([record(1)])
    loop = asyncio.create_task(world.publishing.run())

    await until(world.publishing, None)
    loop.cancel()

    assert world.ledger.announced_size == 1


class FullDisk(MemoryFiles):
    """Files that cannot be written until there is space again."""

    full = True

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(files)


async def test_the_loop_waits_out_an_outage_and_says_what_is_missing() -> None:
    world, files = World(), FullDisk()
    publishing = world.publishing_to(files)
    await world.deliver([record(1)])
    loop = asyncio.create_task(publishing.run())
    await until(publishing, "No space left")

    files.full = False
    await until(publishing, None)
    loop.cancel()

    assert world.told() == {0: entry(1).entry_id}


async def test_a_bug_ends_the_loop() -> None:
    world = World({1})

    with pytest.raises(Crash):
        await world.publishing.run()


class CheckedFiles(MemoryFiles):
    """A folder in which no checkpoint may appear that names a CA whose key is not there."""

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        super().write(files)
        if "checkpoint" in self.files:
            named = set(open_checkpoint(self.files["checkpoint"], LOG.key).checkpoint.values(CA_EXTENSION))
            there = {ca_extension(b64decode(line)).split()[1] for line in self.files["ca"].split()}
            assert named <= there


async def test_a_ca_that_follows_is_published_before_a_checkpoint_names_it_and_the_first_stays() -> None:
    first, following = SeededKey("ca").public_key, SeededKey("next ca").public_key
    named = [(first,), (following, first), (following,)]
    log = LogIdentity(KEY.named("grace.local/log"), KEY.sign, ca_keys=lambda: named[0])
    ledger, files, topic = MemoryLedger(), CheckedFiles(), MemoryTopic()
    recent = RecentEntries(ledger)
    sealing = Sealing(ledger, ledger, log, recent)

    def publishing() -> Publishing:
        return Publishing(sealing, ledger, recent, files, topic, log, look_every_s=0.01)

    running = publishing()
    for number in range(3):
        await sealing.handle([record(number, number)])
        await running.publish_newest()
        del named[: 1 if number < 2 else 0]
    await publishing().publish_newest()

    assert files.files["ca"] == b"".join(b"%b\n" % b64encode(key) for key in (following, first))
    newest = open_checkpoint(files.files["checkpoint"], LOG.key).checkpoint
    assert newest.values(CA_EXTENSION) == [ca_extension(key).split()[1] for key in (following, first)]
