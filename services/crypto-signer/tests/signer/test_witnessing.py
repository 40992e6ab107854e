"""The witness of the ledger: it cosigns what continues, never a fork, once a second at most, from files it checks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from grace_common.contract import topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Unready
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.database import Database
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.note import Note, SignatureType, VerifierKey
from grace_common.transparency.witness import Seen, SignedTree
from grace_crypto_signer.adapters.published_log import PublishedLog
from grace_crypto_signer.adapters.witness_store import PostgresWitnessMemory
from grace_crypto_signer.domain.keyring import SigningKey
from grace_crypto_signer.handlers.witnessing import INCONSISTENT, Witnessing
from grace_crypto_signer.ports import Witnessed

from .examples import TIME, MemoryUses, Stated

SIGNER = SeededKey("witness")
KEY = SIGNER.named("grace.local/witness", SignatureType.COSIGNATURE)


@dataclass
class MemoryWitness:
    """Implements `WitnessMemory`; fails as often as told."""

    logs: dict[str, Witnessed] = field(default_factory=dict)
    outages: int = 0
    calls: int = 0
    retried: asyncio.Event = field(default_factory=asyncio.Event)

    async def newest(self, origin: str) -> Witnessed | None:
        self.calls += 1
        if self.calls > 1:
            self.retried.set()
        if self.outages:
            self.outages -= 1
            raise ConnectionError("the database does not answer")
        return self.logs.get(origin)

    async def keep(self, before: Witnessed, tree: SignedTree, cosigned: Note) -> None:
        known = self.logs.get(tree.checkpoint.origin)
        if (Seen() if known is None else known.tree) != before.tree:
            raise Unready("another witness went on")
        self.logs[tree.checkpoint.origin] = Witnessed(before.log_key, Seen.of(cosigned))


@dataclass
class MemoryTopic:
    """Implements `Producer`."""

    cosigned: list[CheckpointCosigned] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def sign(self, values: Sequence[bytes]) -> None:
        raise AssertionError("the witness signs no statement")

    async def identify(self, stated: Sequence[CertificateIssued]) -> None:
        raise AssertionError("the witness certifies nobody")

    async def cosign(self, cosigned: Envelope) -> None:
        assert isinstance(cosigned.event, CheckpointCosigned)
        self.cosigned.append(cosigned.event)
        self.arrived.set()


def grown(log: MemoryLog, size: int, word: bytes = b"entry") -> MemoryLog:
    log.append(*(word + b" %d" % number for number in range(len(log.entries), size)))
    log.publish()
    return log


def record(event: CheckpointPublished | EntriesSealed | bytes) -> SealedRecord:
    value = event if isinstance(event, bytes) else Stated(event).value
    return SealedRecord(topics.LEDGER.name, 0, 0, b"log", value, TIME, Signer("service/audit-log", "key"))


def announced(log: MemoryLog) -> SealedRecord:
    note = log.files["checkpoint"]
    checkpoint = Checkpoint.parse(Note.parse(note).text)
    return record(
        CheckpointPublished(tree_size=checkpoint.size, root_sha256=checkpoint.root.hex(), checkpoint=note.decode())
    )


@dataclass
class Scene:
    """A witness with what it works on."""

    log: MemoryLog = field(default_factory=lambda: grown(MemoryLog("grace.local/log"), 300))
    memory: MemoryWitness = field(default_factory=MemoryWitness)
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    trusted: VerifierKey | None = None
    signer: SeededKey = SIGNER
    listed: list[VerifierKey] = field(default_factory=list)
    uses: MemoryUses = field(default_factory=MemoryUses)
    witness: Witnessing = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin anew, as after a crash."""
        self.witness = Witnessing(
            self.memory,
            self.log,
            self.topic,
            KEY.name,
            lambda: SigningKey(self.signer.key_id, self.signer.public_key, self.signer.sign),
            lambda origin: [key for key in self.listed if key.name == origin],
            FixedClock(),
            self.uses,
            log_key=self.trusted,
            every_s=0.001,
        )

    async def announce(self, *logs: MemoryLog) -> None:
        await self.witness.handle([announced(log) for log in logs or (self.log,)])
        await self.witness.cosign_newest()

    @property
    def sizes(self) -> list[int]:
        return [event.tree_size for event in self.topic.cosigned]


@asynccontextmanager
async def running(witness: Witnessing) -> AsyncIterator[None]:
    task = asyncio.create_task(witness.run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_continues_the_log_is_cosigned_and_opens_with_both_keys() -> None:
    scene = Scene()
    await scene.announce()
    grown(scene.log, 700)
    await scene.announce()

    assert scene.sizes == [300, 700]
    newest = scene.topic.cosigned[-1]
    opened = open_checkpoint(newest.checkpoint.encode(), scene.log.key, [VerifierKey.parse(newest.witness)], quorum=1)
    assert opened.checkpoint.root.hex() == newest.root_sha256
    assert [one.name for one in opened.cosigners] == ["grace.local/witness"]
    await scene.witness.check()


async def test_a_fork_is_never_cosigned_and_raises_an_alarm_until_the_next_start() -> None:
    scene = Scene()
    await scene.announce()
    before = INCONSISTENT._value.get()
    fork = grown(grown(MemoryLog("grace.local/log"), 299), 400, b"other")
    scene.log.files = fork.files  # what is published now is another history, in itself consistent

    await scene.announce(fork)

    assert scene.sizes == [300]
    assert INCONSISTENT._value.get() == before + 1
    with pytest.raises(Unready, match=r"ALARM.*another root of the 300 leaves"):
        await scene.witness.check()
    scene.start()
    await scene.witness.check()


async def test_a_checkpoint_that_the_published_tiles_do_not_lead_to_is_never_cosigned() -> None:
    scene = Scene()
    fork = grown(MemoryLog("grace.local/log"), 300, b"other")

    await scene.announce(fork)

    assert scene.sizes == []
    with pytest.raises(Unready, match="ALARM"):
        await scene.witness.check()


async def test_an_older_announcement_is_passed_over_unless_it_is_a_forks() -> None:
    scene = Scene()
    older = grown(MemoryLog("grace.local/log"), 100)
    await scene.announce()

    await scene.announce(older)
    await scene.witness.check()
    assert scene.sizes == [300]

    await scene.announce(grown(MemoryLog("grace.local/log"), 100, b"other"))
    with pytest.raises(Unready, match="two trees of 100 leaves"):
        await scene.witness.check()


async def test_the_key_of_the_first_checkpoint_stays_the_one_that_is_trusted() -> None:
    scene = Scene()
    await scene.announce()
    thief = SeededKey("thief")
    signed = sign_checkpoint(
        Checkpoint("grace.local/log", 300, scene.log.tree().root_at(300)), thief.named("grace.local/log"), thief.sign
    )
    scene.log.files |= {"vkey": str(thief.named("grace.local/log")).encode(), "checkpoint": signed}

    await scene.announce()

    assert scene.sizes == [300]
    with pytest.raises(Unready, match="no key that is trusted"):
        await scene.witness.check()


async def test_a_configured_key_is_trusted_from_the_first_checkpoint_on() -> None:
    right = Scene(trusted=grown(MemoryLog("grace.local/log"), 1).key)
    wrong = Scene(trusted=SeededKey("another").named("grace.local/log"))
    await right.announce()
    await wrong.announce()

    assert (right.sizes, wrong.sizes) == ([300], [])


async def test_of_many_announcements_only_the_newest_is_cosigned() -> None:
    scene = Scene()
    old = announced(scene.log)
    grown(scene.log, 310)
    newest = announced(scene.log)

    await scene.witness.handle([old, record(EntriesSealed.example()), newest, record(EntriesSealed.example())])
    await scene.witness.cosign_newest()

    assert scene.sizes == [310]


async def test_what_is_no_announcement_is_passed_over() -> None:
    scene = Scene()
    await scene.witness.handle([record(EntriesSealed.example()), record(b"grace.checkpoint-published.v1 no envelope")])
    await scene.witness.cosign_newest()

    assert scene.sizes == []
    await scene.witness.check()


async def test_what_was_published_before_a_crash_is_cosigned_at_the_start() -> None:
    scene = Scene()
    async with running(scene.witness):
        await scene.topic.arrived.wait()

    assert scene.sizes == [300]
    assert await scene.witness.start_at(topics.LEDGER.name, 0) is None


async def test_an_outage_is_waited_out() -> None:
    scene = Scene(memory=MemoryWitness(outages=2))
    async with running(scene.witness):
        await scene.topic.arrived.wait()

    assert scene.sizes == [300]


async def test_missing_tiles_are_waited_for_and_told() -> None:
    scene = Scene()
    hidden = scene.log.files.pop("tile/1/000.p/1")
    async with running(scene.witness):
        await scene.memory.retried.wait()
        with pytest.raises(Unready, match="wait for their cosignature"):
            await scene.witness.check()
        scene.log.files["tile/1/000.p/1"] = hidden
        await scene.topic.arrived.wait()
    assert scene.sizes == [300]


async def test_a_witness_without_a_published_log_waits_for_the_first_announcement(tmp_path: Path) -> None:
    with pytest.raises(Unready, match="checkpoint is not published"):
        PublishedLog(tmp_path).read("checkpoint")
    (tmp_path / "checkpoint").write_bytes(b"note")
    assert PublishedLog(tmp_path).read("checkpoint") == b"note"

    scene = Scene()
    files, scene.log.files = scene.log.files, {}
    async with running(scene.witness):
        await asyncio.sleep(0)
        scene.log.files = files
        await scene.witness.handle([announced(scene.log)])
        await scene.topic.arrived.wait()
    assert scene.sizes == [300]


async def test_the_database_remembers_the_newest_tree_and_lets_one_of_two_go_on(database: Database) -> None:
    scene = Scene()
    first, second = PostgresWitnessMemory(database), PostgresWitnessMemory(database)
    assert await first.newest("grace.local/log") is None

    def tree(size: int) -> tuple[SignedTree, Note]:
        note = Note.parse(grown(MemoryLog("grace.local/log"), size).files["checkpoint"])
        signed = SignedTree(Checkpoint.parse(note.text), note)
        return signed, signed.cosigned(KEY, SIGNER.sign, 1_700_000_000)[1]

    nothing = Witnessed(scene.log.key, Seen())
    await first.keep(nothing, *tree(10))
    known = await second.newest("grace.local/log")
    assert known == Witnessed(scene.log.key, tree(10)[0].seen)

    await first.keep(known, *tree(20))
    with pytest.raises(Unready, match="went on from the 10 leaves first"):
        await second.keep(known, *tree(15))
    with pytest.raises(Unready, match="went on"):
        await second.keep(nothing, *tree(15))
    assert await second.newest("grace.local/log") == Witnessed(scene.log.key, tree(20)[0].seen)


async def test_a_key_that_is_replaced_cosigns_what_continues_the_tree_that_the_one_before_cosigned() -> None:
    scene = Scene()
    await scene.announce()

    scene.signer = SeededKey("the next witness")
    grown(scene.log, 400)
    await scene.announce()

    assert scene.sizes == [300, 400]
    first, second = scene.topic.cosigned
    next_key = scene.signer.named(KEY.name, SignatureType.COSIGNATURE)
    assert (first.witness, second.witness) == (str(KEY), str(next_key))
    assert open_checkpoint(second.checkpoint.encode(), scene.log.key, [next_key], quorum=1).checkpoint.size == 400


def succeeded(scene: Scene, successor: SeededKey) -> tuple[VerifierKey, VerifierKey]:
    """Let the log be signed by its key and a successor, both of which the key directory lists."""
    old, new = scene.log.key, successor.named("grace.local/log")
    scene.listed = [old, new]
    scene.log.succeed(successor)
    return old, new


async def test_trust_moves_on_with_a_checkpoint_that_a_listed_successor_signed_beside_the_trusted_key() -> None:
    scene = Scene()
    await scene.announce()
    old, new = succeeded(scene, SeededKey("successor"))
    grown(scene.log, 400)

    await scene.announce()

    assert scene.memory.logs["grace.local/log"].log_key == new
    both = scene.topic.cosigned[-1].checkpoint.encode()
    assert open_checkpoint(both, [new, old]).signers == (new, old)  # so a receipt verifies with either
    scene.log.retire()
    grown(scene.log, 500)
    scene.start()
    await scene.announce()
    assert scene.sizes == [300, 400, 500]
    await scene.witness.check()


@pytest.mark.parametrize("listed", [True, False])
async def test_a_key_is_never_trusted_because_it_signs_alone_nor_because_it_signs_unlisted(listed: bool) -> None:
    scene = Scene()
    await scene.announce()
    old, _ = succeeded(scene, SeededKey("successor"))
    if listed:  # but the older one signs no more, before anybody saw both
        scene.log.retire()
    else:
        scene.listed = [old]
        grown(scene.log, 350)
        await scene.announce()
        assert scene.memory.logs["grace.local/log"].log_key == old
        scene.log.retire()
    grown(scene.log, 400)

    await scene.announce()

    assert 400 not in scene.sizes
    with pytest.raises(Unready, match=r"ALARM.*(never by one that signs alone|no key that is trusted)"):
        await scene.witness.check()


async def test_after_the_change_the_older_key_alone_is_a_rollback_but_an_older_announcement_is_none() -> None:
    scene = Scene()
    older = announced(scene.log)
    grown(scene.log, 350)
    await scene.announce()
    first = SeededKey("grace.local/log")
    old, _ = succeeded(scene, SeededKey("successor"))
    grown(scene.log, 400)
    await scene.announce()

    await scene.witness.handle([older])
    await scene.witness.cosign_newest()
    await scene.witness.check()

    grown(scene.log, 500)
    rolled_back = sign_checkpoint(Checkpoint("grace.local/log", 500, scene.log.tree().root_at(500)), old, first.sign)
    scene.log.files["checkpoint"] = rolled_back
    await scene.announce()
    assert scene.sizes == [350, 400]
    with pytest.raises(Unready, match="ALARM"):
        await scene.witness.check()


async def test_a_succession_begins_with_the_configured_key_and_is_not_undone_by_it() -> None:
    scene = Scene()
    old, new = succeeded(scene, SeededKey("successor"))
    scene.trusted = old
    scene.start()
    await scene.announce()
    grown(scene.log, 350)
    await scene.announce()
    scene.log.retire()
    grown(scene.log, 400)
    scene.start()
    await scene.announce()
    assert (scene.sizes, scene.memory.logs["grace.local/log"].log_key) == ([300, 350, 400], new)

    scene.trusted = SeededKey("another").named("grace.local/log")  # which nobody lists before it
    scene.start()
    grown(scene.log, 500)
    await scene.announce()
    assert scene.sizes == [300, 350, 400]


async def test_the_memory_in_the_database_survives_a_change_of_the_logs_key(database: Database) -> None:
    scene = Scene()
    memory = PostgresWitnessMemory(database)

    async def announce(size: int) -> VerifierKey:
        """Let a witness that begins anew hear of the log's tree of this size; return the key that it goes by then."""
        grown(scene.log, size)
        witness = Witnessing(
            memory,
            scene.log,
            scene.topic,
            KEY.name,
            lambda: SigningKey(SIGNER.key_id, SIGNER.public_key, SIGNER.sign),
            lambda origin: scene.listed,
            FixedClock(),
            MemoryUses(),
            log_key=None,
            every_s=0.001,
        )
        await witness.handle([announced(scene.log)])
        await witness.cosign_newest()
        await witness.check()
        known = await memory.newest("grace.local/log")
        assert known is not None
        assert known.tree.size == size
        return known.log_key

    first = await announce(400)
    old, new = succeeded(scene, SeededKey("successor"))
    assert (first, await announce(500)) == (old, new)
    scene.log.retire()
    assert await announce(600) == new
