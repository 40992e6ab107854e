"""Whatever is replaced while facts are notarised, the log that comes of it is whole to whoever verifies it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from grace_cli.log_files import FolderLog, LogKey
from grace_cli.verifying.command import Report, Wanted, verify_files
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.task import TaskSubmitted
from grace_common.runtime.database import Database
from grace_common.testing.clock import FixedClock
from grace_common.testing.ledger import MemoryLog, SeededKey
from grace_common.transparency.checkpoint import ca_extension
from grace_common.transparency.strict import encode_base64
from grace_crypto_signer import commands, key_commands
from grace_crypto_signer.adapters import directory_files, key_files
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek
from grace_crypto_signer.handlers.notarizing import Notarizing
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings
from sqlalchemy import text

from .examples import MemoryUses, Stated, entries_of
from .test_backup import settings_of
from .test_handlers import POLICY, MemoryEpochs, MemoryTopics, record

AT_ONCE = 4  # facts in a batch
ROTATIONS = ("notary", "attestation", "witness", "root", "log", "ca", "age", "restart")


@dataclass
class SlowTopics(MemoryTopics):
    """A broker that now and then is long in taking what it is sent, while others go on."""

    turns: Random = field(default_factory=lambda: Random(0))

    async def sign(self, values: Sequence[bytes]) -> None:
        for _ in range(self.turns.randrange(40)):
            await asyncio.sleep(0)
        await super().sign(values)


@dataclass
class Grace:
    """A notary at work, its keys in files, and the commands that replace them."""

    settings: Settings
    database: Database
    topics: SlowTopics = field(default_factory=SlowTopics)
    log: SeededKey = field(default_factory=lambda: SeededKey("log"))
    log_number: int = 0

    def __post_init__(self) -> None:
        self.settings.publication_dir.mkdir()
        self.publish_vkey()
        self.begin()

    def begin(self) -> None:
        """Start the notary, which remembers nothing."""
        reopen = partial(key_files.open_kek, self.settings.state_dir, self.settings.passphrase_file)
        self.keys = FileKeys(self.settings, LiveKek(reopen(), reopen))
        self.notary = Notarizing(
            MemoryEpochs(), self.keys, self.topics, FixedClock(), POLICY, MemoryUses(), keys_every_s=1.0
        )

    def publish_vkey(self) -> None:
        (self.settings.publication_dir / "vkey").write_text(f"{self.log.named('grace.local/log')}\n")

    async def work(self) -> None:
        """Notarise a few facts, some with attestations, and look for new keys meanwhile."""
        await asyncio.gather(self._notarise(), self._look(), self._look())

    async def _notarise(self) -> None:
        for event in (TaskSubmitted.example(), TaskCompleted.example()):
            await self.notary.handle([record(Stated(event, id=uuid4(), operation=uuid4())) for _ in range(AT_ONCE)])

    async def _look(self) -> None:
        await asyncio.sleep(0)  # so that facts are on their way
        await self.notary.refresh()

    async def rotate(self, what: str) -> None:
        match what:
            case "ca":
                request = KeyRequest(level="ca", folder=self.settings.state_dir.parent / "identities")
                await key_commands.rotate(self.settings, request)
                await self.work()
                async with self.database.transaction() as connection:  # as a running signer does
                    await connection.execute(text("DELETE FROM outbox"))
                await key_commands.retire(self.settings, request)
            case "log":
                self.log_number += 1
                self.log = SeededKey(f"log {self.log_number}")
                vkey = str(self.log.named("grace.local/log"))
                await key_commands.rotate(self.settings, KeyRequest(level="log", log_key=vkey))
                self.publish_vkey()
                await self.work()
                kek = key_files.open_kek(self.settings.state_dir, self.settings.passphrase_file)
                vault = key_files.open_vault(self.settings.state_dir, kek, self.settings.trust_domain)
                assert vault.root is not None
                witnessed, life = self.log.named("grace.local/log"), timedelta(days=365)
                now = datetime.now(UTC).replace(microsecond=0)
                directory_files.retire_log(self.settings.state_dir, vault, vault.root, witnessed, now, life)
            case "age":
                impatient = self.settings.model_copy(update={"own_key_days": 1e-12})
                kek = key_files.open_kek(self.settings.state_dir, self.settings.passphrase_file)
                FileKeys(impatient, LiveKek(kek, None)).renew(datetime.now(UTC).replace(microsecond=0))
            case "restart":
                await self.rotate("notary")
                self.begin()
            case _:
                await key_commands.rotate(self.settings, KeyRequest.model_validate({"level": what}))

    def sealed(self, folder: Path) -> FolderLog:
        """Return the log that an audit-log makes of what was stated: the first copy of each entry, in order."""
        cas = key_files.authorities(self.settings.state_dir).keys
        log = MemoryLog("grace.local/log", tuple(map(ca_extension, cas)))
        first = {entry.entry_id: entry.leaf.encode() for entry in reversed(entries_of(self.topics.signed))}
        ordered = dict.fromkeys(entry.entry_id for entry in entries_of(self.topics.signed))
        log.append(*(first[entry_id] for entry_id in ordered))
        log.publish()
        log.files["ca"] = "".join(f"{encode_base64(ca)}\n" for ca in cas).encode()
        log.files |= {f"keys/{n:04}.json": each for n, each in enumerate(self.keys.directories(), 1)}
        for path, data in log.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        self.vkey = log.key
        return FolderLog(folder)

    def verified(self, folder: Path) -> Report:
        return verify_files(self.sealed(folder), Wanted(LogKey(self.vkey, "the test", True)), int, int)


@pytest.fixture
async def grace(database: Database, database_url: str, tmp_path: Path) -> Grace:
    settings = settings_of(tmp_path, database_url)
    await commands.init(settings, {name: tmp_path / "identities" / name for name in ("crypto-signer", "gateway")})
    grace = Grace(settings, database)
    await key_commands.directory(settings, KeyRequest())  # now that there is a log, the directory lists its key
    return grace


@pytest.mark.parametrize("what", ROTATIONS)
async def test_a_log_across_each_rotation_is_whole(grace: Grace, tmp_path: Path, what: str) -> None:
    for _ in range(2):
        await grace.work()
        await grace.rotate(what)
    await grace.work()
    await grace.work()

    report = await asyncio.to_thread(grace.verified, tmp_path / "sealed")

    assert report.findings.faults == []
    assert (report.findings.directories, report.findings.ended > 0) == (
        len(grace.keys.directories()),
        what not in ("witness", "root", "log"),
    )


async def test_a_log_across_all_of_them_is_whole(grace: Grace, tmp_path: Path) -> None:
    for what in (*ROTATIONS, *reversed(ROTATIONS)):
        await grace.work()
        await grace.rotate(what)
    await grace.work()

    report = await asyncio.to_thread(grace.verified, tmp_path / "sealed")

    assert report.findings.faults == []
