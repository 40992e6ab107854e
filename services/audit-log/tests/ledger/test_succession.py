"""When the log's key is due, and what is said of it until the key directory does it, whatever dies in between."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from grace_audit_log.adapters.log_key import NEXT, FileLogKeys, load
from grace_audit_log.domain.succession import SuccessionPolicy, is_due, outlived
from grace_audit_log.handlers.recent import RecentEntries
from grace_audit_log.handlers.sealing import Sealing
from grace_audit_log.handlers.succession import Succession
from grace_common.contract import envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.ledger import LogKeyRetirementProposed, LogKeySuccessionProposed
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import TIME, SeededKey
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.note import VerifierKey

from .directories import version
from .fakes import Crash, Failures, MemoryLedger, MemoryTopic

ORIGIN = "grace.local/log"
FIRST, SECOND = SeededKey("first").named(ORIGIN), SeededKey("second").named(ORIGIN)
BEGIN, DAY = datetime.fromisoformat(TIME), timedelta(days=1)
POLICY = SuccessionPolicy(age=90 * DAY, checkpoints=1_000, overlap=30 * DAY)


def directory(signed: bytes) -> KeyDirectory:
    return KeyDirectory.parse(DsseEnvelope.parse(signed).payload)


ALONE = directory(version([], FIRST))
BOTH = directory(version([], FIRST, SECOND, since=(BEGIN + 100 * DAY).isoformat()))


@pytest.mark.parametrize(
    ("age", "due"), [(90 * DAY - timedelta(seconds=1), False), (90 * DAY, True), (900 * DAY, True)]
)
def test_a_key_is_due_at_the_age_of_the_policy(age: timedelta, due: bool) -> None:
    assert is_due(FIRST, ALONE, POLICY, BEGIN + age, None) is due
    assert not is_due(FIRST, ALONE, SuccessionPolicy(None, 1_000, DAY), BEGIN + age, None)


def test_a_key_is_due_once_it_has_signed_as_many_checkpoints_as_the_policy_says() -> None:
    of_the_key_before = BEGIN - timedelta(seconds=1)

    assert is_due(FIRST, ALONE, POLICY, BEGIN + DAY, BEGIN)
    assert not is_due(FIRST, ALONE, POLICY, BEGIN + DAY, of_the_key_before)


def test_nothing_is_due_while_two_keys_sign_or_no_directory_lists_the_one_that_leads() -> None:
    late = BEGIN + 900 * DAY

    assert not is_due(SECOND, BOTH, POLICY, late, late)
    assert not is_due(SECOND, ALONE, POLICY, late, late)
    assert not is_due(FIRST, None, POLICY, late, late)


def test_the_older_key_may_end_after_the_overlap_which_begins_when_the_newer_one_is_listed() -> None:
    assert outlived(SECOND, BOTH, POLICY, BEGIN + 129 * DAY) is None
    assert outlived(SECOND, BOTH, POLICY, BEGIN + 130 * DAY) == FIRST
    assert outlived(FIRST, ALONE, POLICY, BEGIN + 900 * DAY) is None
    assert outlived(FIRST, BOTH, POLICY, BEGIN + 900 * DAY) is None, "the newer one does not lead yet"
    assert outlived(FIRST, None, POLICY, BEGIN + 900 * DAY) is None


class World:
    """What survives a crash: key files, versions of the directory, the topic. `start` makes the process anew."""

    def __init__(self, folder: Path, policy: SuccessionPolicy = POLICY) -> None:
        self.state, self.publication, self.policy = folder / "state", folder / "log", policy
        self.failures = Failures()
        self.ledger, self.topic = MemoryLedger(), MemoryTopic(self.failures)
        self.clock = FixedClock(BEGIN)
        self.versions: list[bytes] = []
        self.start()
        self.first = self.keys.identity().key

    def start(self) -> None:
        self.keys = FileLogKeys(self.state, ORIGIN, tuple, self.publication)
        self.sealing = Sealing(self.ledger, self.ledger, self.keys, RecentEntries(self.ledger))
        self.succession = Succession(
            self.sealing, self.ledger, self.keys, self.topic, self.clock, self.policy, every_s=0.001
        )

    def publish(self, signed: bytes) -> None:
        """Let the ledger contain a version of the key directory, and its files show it."""
        self.versions.append(signed)
        file = self.publication / f"keys/{len(self.versions):04}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(signed)
        self.keys.follow([signed])

    async def look(self) -> None:
        """Look once, with a new process after each crash."""
        while True:
            try:
                await self.succession.look()
                return
            except Crash:
                self.start()

    @property
    def said(self) -> list[Event]:
        return [envelope.open(value).event for value in self.topic.values]

    def waiting(self) -> VerifierKey | None:
        found = load(self.state / NEXT, ORIGIN)
        return found and found[0]


@pytest.mark.parametrize("crash", [0, 1, 2])
async def test_the_same_next_key_is_said_until_it_is_listed_whatever_step_the_process_dies_at(
    crash: int, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.publish(version([], world.first))
    await world.look()
    assert world.said == []
    assert world.waiting() is None

    world.failures.at = {crash}
    world.clock.time = BEGIN + 90 * DAY
    await world.look()
    world.start()
    await world.look()

    second = world.waiting()
    assert second is not None
    assert set(world.said) == {LogKeySuccessionProposed(log_key=str(world.first), successor=str(second))}
    assert len({envelope.open(value).id for value in world.topic.values}) == 1
    assert (before := len(world.said)) >= 2
    world.publish(version(world.versions, world.first, second, since=world.clock.time.isoformat()))
    await world.look()
    assert len(world.said) == before
    assert world.keys.identity().keys == (second, world.first)


@pytest.mark.parametrize("crash", [0, 1, 2])
async def test_the_end_of_the_older_key_is_said_after_the_overlap_until_the_directory_says_it(
    crash: int, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.publish(version([], world.first))
    second = world.keys.successor()
    world.publish(version(world.versions, world.first, second, since=(BEGIN + DAY).isoformat()))
    world.clock.time = BEGIN + 31 * DAY - timedelta(seconds=1)
    await world.look()
    assert world.said == []

    world.failures.at = {crash}
    world.clock.advance(1)
    await world.look()
    await world.look()

    assert set(world.said) == {LogKeyRetirementProposed(log_key=str(second), older=str(world.first))}
    assert (before := len(world.said)) >= 2
    world.publish(version(world.versions, second, ended=[world.first], since=(BEGIN + DAY).isoformat()))
    await world.look()
    assert len(world.said) == before


async def test_checkpoints_are_counted_from_the_newest_back(tmp_path: Path) -> None:
    world = World(tmp_path, SuccessionPolicy(None, 2, DAY))
    world.publish(version([], world.first, since=datetime(2026, 11, 22, tzinfo=UTC).isoformat()))
    await world.ledger.take_over()
    await world.look()
    assert world.said == []

    world.ledger.heads *= 2
    await world.look()

    assert len(world.said) == 1


async def test_a_key_that_cannot_be_made_is_told_and_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish(version([], world.first))
    world.clock.time = BEGIN + 90 * DAY
    (world.publication / "keys/0001.json").unlink()  # nobody could list it
    with pytest.raises(Refused, match="grace keys directory"):
        await world.look()
    await world.sealing.lead()

    running = asyncio.create_task(world.succession.run())
    async with asyncio.timeout(10):
        await asyncio.sleep(0.01)
        assert not running.done()
        (world.publication / "keys/0001.json").write_bytes(world.versions[0])
        await world.topic.arrived.wait()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_an_instance_that_stands_by_says_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish(version([], world.first))
    world.clock.time = BEGIN + 90 * DAY

    running = asyncio.create_task(world.succession.run())
    for _ in range(20):
        await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert world.said == []
    assert world.waiting() is None
