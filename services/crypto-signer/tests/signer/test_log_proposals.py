"""The log's key changed because the audit-log proposes it: as the commands do, once, where the root is at hand."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from grace_common.contract import topics
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.ledger import EntriesSealed, LogKeyRetirementProposed, LogKeySuccessionProposed
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.testing.clock import FixedClock
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.witness import Seen
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import directory_files
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.state_lock import changing
from grace_crypto_signer.handlers.announcements import Announcements
from grace_crypto_signer.handlers.succession import LogSuccession
from grace_crypto_signer.ports import Witnessed
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings

from .examples import TIME, Stated
from .test_backup import settings_of
from .test_log_succession import NEW, NEXT, OLD, ORIGIN, keys_of, listing, newest, prepared
from .test_succession import hand_out, with_shares
from .test_witnessing import MemoryWitness

SUCCESSION = LogKeySuccessionProposed(log_key=str(OLD), successor=str(NEW))
RETIREMENT = LogKeyRetirementProposed(log_key=str(NEW), older=str(OLD))


def record(event: Event | bytes) -> SealedRecord:
    value = event if isinstance(event, bytes) else Stated(event).value
    return SealedRecord(topics.LEDGER.name, 0, 0, b"log", value, TIME, Signer("service/audit-log", "key"))


@dataclass
class Scene:
    """A signer whose directory lists the log's first key; `start` makes the process anew."""

    settings: Settings
    memory: MemoryWitness = field(default_factory=MemoryWitness)
    keys: FileKeys = field(init=False)
    succession: LogSuccession = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.keys = keys_of(self.settings)
        self.succession = LogSuccession(self.keys, self.memory, FixedClock(TIME))

    async def hear(self, *events: Event | bytes) -> None:
        await Announcements(self.succession).handle([record(event) for event in events])
        await self.succession.do_proposed()

    def witness_goes_by(self, key: VerifierKey) -> None:
        self.memory.logs[ORIGIN] = Witnessed(key, Seen())

    def in_use(self) -> list[VerifierKey]:
        return newest(self.settings).log_keys(ORIGIN, in_use=True)

    async def due(self) -> object:
        return (await key_commands.status(self.settings, KeyRequest()))["log_due"]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(prepared(settings_of(tmp_path)))


async def test_a_key_that_is_proposed_is_listed_as_the_command_lists_it_however_often_it_is_heard(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.hear(SUCCESSION)
    await scene.hear(SUCCESSION)
    scene.start()
    await scene.hear(SUCCESSION, SUCCESSION)

    assert (scene.in_use(), newest(scene.settings).version) == ([OLD, NEW], 2)
    assert await key_commands.rotate(scene.settings, listing(NEW)) == {
        "level": "log",
        "log_key": str(NEW),
        "directory": 2,
    }
    assert await scene.due() is None


async def test_the_older_key_ends_once_the_witness_goes_by_the_newer_one(scene: Scene) -> None:
    await scene.hear(SUCCESSION)
    with pytest.raises(Unready, match="the witness has cosigned no checkpoint yet"):
        await scene.hear(RETIREMENT)
    scene.witness_goes_by(OLD)
    with pytest.raises(Unready, match="signed beside the key before it"):
        await scene.hear(RETIREMENT)
    scene.witness_goes_by(NEW)

    await scene.hear(RETIREMENT)
    scene.start()
    await scene.hear(RETIREMENT)

    assert (scene.in_use(), newest(scene.settings).version) == ([NEW], 3)


async def test_what_is_proposed_of_keys_of_long_ago_changes_nothing(scene: Scene) -> None:
    await scene.hear(SUCCESSION)
    await scene.hear(LogKeySuccessionProposed(log_key=str(OLD), successor=str(NEXT)))
    await scene.hear(LogKeyRetirementProposed(log_key=str(OLD), older=str(NEW)))
    scene.witness_goes_by(NEW)
    await scene.hear(RETIREMENT)

    await scene.hear(SUCCESSION)
    await scene.hear(LogKeyRetirementProposed(log_key=str(NEXT), older=str(NEW)))
    with pytest.raises(Refused, match="a key that ended does not come back"):
        await scene.hear(LogKeySuccessionProposed(log_key=str(NEW), successor=str(OLD)))

    assert (scene.in_use(), newest(scene.settings).version) == ([NEW], 3)


async def test_where_the_root_exists_as_shares_people_are_told_which_command_to_give(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = hand_out(scene.settings)
    for _ in range(2):
        await scene.hear(SUCCESSION)

    assert capsys.readouterr().out.count("`grace keys rotate log --share …`") == 1
    assert await scene.due() == {"verb": "rotate", "leading": str(OLD), "other": str(NEW)}
    assert scene.in_use() == [OLD]
    request = with_shares(shares[:3]).model_copy(update={"level": "log", "log_key": str(NEW)})
    await key_commands.rotate(scene.settings, request)
    assert await scene.due() is None

    await scene.hear(RETIREMENT)
    assert "`grace keys retire log --share …`" in capsys.readouterr().out
    assert await scene.due() == {"verb": "retire", "leading": str(NEW), "other": str(OLD)}
    assert scene.in_use() == [OLD, NEW]


async def test_while_another_one_changes_the_keys_it_waits_to_be_said_again(scene: Scene) -> None:
    with changing(scene.settings.state_dir, "keys rotate ca"), pytest.raises(Unready, match="keys rotate ca"):
        await scene.hear(SUCCESSION)
    assert scene.in_use() == [OLD]

    await scene.hear(SUCCESSION)

    assert scene.in_use() == [OLD, NEW]


async def test_the_newest_proposal_of_a_batch_counts_and_what_is_none_is_passed_over(scene: Scene) -> None:
    other = LogKeySuccessionProposed(log_key=str(OLD), successor=str(NEXT))
    assert await Announcements(scene.succession).start_at(topics.LEDGER.name, 0) is None

    await scene.hear(EntriesSealed.example(), b"grace.log-key-succession-proposed.v1 no envelope")
    assert scene.in_use() == [OLD]
    await scene.hear(other, SUCCESSION, EntriesSealed.example())

    assert scene.in_use() == [OLD, NEW]


@dataclass
class FailingDirectory:
    """Implements `LogDirectory`; refuses once, and then does what it is asked."""

    errors: list[Exception]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def succeed_log(self, leading: VerifierKey, successor: VerifierKey, now: datetime) -> None:
        if self.errors:
            raise self.errors.pop()

    def retire_log(
        self, leading: VerifierKey, older: VerifierKey, witnessed: VerifierKey | None, now: datetime
    ) -> None:
        raise AssertionError("nothing ends")


@pytest.mark.parametrize("error", [Refused("no"), Unready("not yet"), ConnectionError("away")])
async def test_what_cannot_be_done_now_is_told_and_the_signer_goes_on(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = FailingDirectory([error, error])
    succession = LogSuccession(directory, MemoryWitness(), FixedClock(TIME))
    running = asyncio.create_task(succession.run())

    async with asyncio.timeout(10):
        while directory.errors:
            await succession.handle([record(SUCCESSION)])
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert capsys.readouterr().out.count("log_key_waits") == 1


def test_a_file_of_what_is_due_that_was_damaged_is_told(scene: Scene) -> None:
    (scene.settings.state_dir / "log-due.json").write_text('{"version": 1, "verb": "sell"}')

    with pytest.raises(Refused, match="the audit-log says it again"):
        asyncio.run(key_commands.status(scene.settings, KeyRequest()))
    assert directory_files.newest(scene.settings.state_dir) is not None
