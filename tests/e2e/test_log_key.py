"""The log's key replaced by policy while facts are sealed and both services die again and again.

The audit-log and the crypto-signer run as processes, on a broker and a database of this module's own.
"""

import asyncio
import os
import subprocess
import sys
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import pytest
from grace_cli.testing.deployment import Deployment, stated
from grace_common.contract import topics
from grace_common.contract.events.task import TaskSubmitted
from grace_common.runtime.identity import Workload
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.directory import KeyDirectory, follow_all
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.tile import TileReader, TreeReader
from grace_common.transparency.witness import open_signed
from pydantic import SecretStr

from tests.e2e.patience import until

ORIGIN: Final = "grace.local/log"
PACKAGES: Final = {topics.AUDIT_LOG: "grace_audit_log", topics.CRYPTO_SIGNER: "grace_crypto_signer"}
SECOND_IN_DAYS: Final = 1 / 86_400
SETTINGS: Final = {
    topics.AUDIT_LOG: {
        "GRACE_LOG_KEY_CHECKPOINTS": "12",
        "GRACE_LOG_KEY_OVERLAP_DAYS": str(2 * SECOND_IN_DAYS),
        "GRACE_LOG_KEY_EVERY_S": "0.2",
        "GRACE_PUBLISH_EVERY_S": "0.2",
    },
    topics.CRYPTO_SIGNER: {"GRACE_EPOCHS_EVERY_S": "0.2", "GRACE_WITNESS_EVERY_S": "0.1"},
}
PATIENCE_S: Final = 600  # a dozen starts of services, on a machine that may be busy


@dataclass
class Pair:
    """The two services: their folders, their processes, what they publish."""

    deployment: Deployment
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    deaths: int = 0

    @property
    def publication(self) -> Path:
        return self.folder / "log"

    def state(self, service: str) -> Path:
        return self.folder / "state" / service

    def environment(self, service: str) -> dict[str, str]:
        settings = self.deployment.settings(
            service,
            identity_dir=self.folder / "identity" / service,
            state_dir=self.state(service),
            publication_dir=self.publication,
        )
        given = {
            f"GRACE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in settings.model_dump(exclude_none=True).items()
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GRACE_")}
        return kept | given | SETTINGS.get(service, {})

    def command(self, service: str, *words: str) -> None:
        words = (sys.executable, "-m", PACKAGES[service], *words)
        done = subprocess.run(words, env=self.environment(service), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def verify(self, *words: str) -> None:
        """Let `grace ledger verify` find the log whole."""
        command = [sys.executable, "-m", "grace_cli.main", "ledger", "verify", *words]
        whole = self.deployment.postgres.url(self.deployment.database_name)  # the crypto-signer's tables as well
        environment = self.environment(topics.AUDIT_LOG) | {"GRACE_DATABASE_URL": whole}
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, service: str) -> None:
        words = [sys.executable, "-m", PACKAGES[service]]
        log = (self.folder / f"{service}.log").open("ab")
        self.processes[service] = subprocess.Popen(words, env=self.environment(service), stdout=log, stderr=log)

    def kill(self, service: str) -> None:
        """End a process as a crash would, and start it anew as a supervisor does."""
        self.processes[service].kill()
        self.processes[service].wait()
        self.deaths += 1
        self.start(service)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def directory(self) -> KeyDirectory | None:
        """Return the newest key directory beside the log."""
        versions = [file.read_bytes() for file in sorted(self.publication.glob("keys/*.json"))]
        return follow_all(versions) if versions else None

    def keys(self, *, in_use: bool = False) -> list[VerifierKey]:
        directory = self.directory()
        return [] if directory is None else directory.log_keys(ORIGIN, in_use=in_use)

    def vkey(self) -> VerifierKey:
        return VerifierKey.parse((self.publication / "vkey").read_text().strip())


@pytest.fixture
def pair(deployment: Deployment, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(deployment, tmp_path)
    for service in PACKAGES:
        pair.state(service).mkdir(parents=True, mode=0o700)
        pair.command(service, "migrate")
    pair.command(topics.CRYPTO_SIGNER, "init", *topics.SERVICES, "--out-root", str(tmp_path / "identity"))
    for service in (topics.CRYPTO_SIGNER, topics.AUDIT_LOG):
        pair.start(service)
    yield pair
    pair.end()


@asynccontextmanager
async def load(pair: Pair) -> AsyncIterator[list[UUID]]:
    """State facts without a pause; yields the ids of those that the broker has."""
    workload = Workload.load(pair.folder / "identity" / topics.GATEWAY)
    sent: list[UUID] = []
    stop = asyncio.Event()

    async def send() -> None:
        while not stop.is_set():
            fact = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))
            await pair.deployment.send(topics.GATEWAY, fact, workload=workload)
            sent.append(fact.id)

    sending = asyncio.create_task(send())
    try:
        yield sent
    finally:
        stop.set()
        await sending


@dataclass(frozen=True)
class Published(TileReader):
    """The static files."""

    folder: Path

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()


async def test_the_key_is_succeeded_and_ended_by_count_while_both_services_die(pair: Pair) -> None:
    notes: dict[bytes, None] = {}
    seen: set[object] = set()

    async def watch() -> None:
        """Read what a reader of the log meets, and kill whoever is to act next at each step of a change."""
        while True:
            for name in ("checkpoint", "checkpoint.cosigned"):
                with suppress(FileNotFoundError):
                    notes[(pair.publication / name).read_bytes()] = None
            signed = pair.state(topics.CRYPTO_SIGNER).glob("directory-*.json")
            steps: list[tuple[object, str]] = [(file.name, topics.AUDIT_LOG) for file in signed]
            with suppress(FileNotFoundError):
                made = (pair.state(topics.AUDIT_LOG) / "log-key-next.pem").stat().st_mtime_ns
                steps.append((made, topics.CRYPTO_SIGNER))
            for step, next_to_act in steps:
                if step not in seen:
                    seen.add(step)
                    pair.kill(next_to_act)
            await asyncio.sleep(0.02)

    def second_key_alone() -> None:
        until("key that ended", lambda: len(pair.keys()) > len(pair.keys(in_use=True)), timeout_s=PATIENCE_S)

    async with load(pair) as sent:
        watching = asyncio.create_task(watch())
        await asyncio.wait(
            {watching, reached := asyncio.create_task(asyncio.to_thread(second_key_alone))}, return_when=FIRST_COMPLETED
        )
        assert not watching.done(), watching.result()
        await reached
    await asyncio.to_thread(until, "vkey of the newest key", lambda: pair.keys()[-1] == pair.vkey())
    watching.cancel()
    pair.end()
    first, *_, last = keys = pair.keys()

    assert pair.deaths >= 4
    assert len(sent) > 50
    notes[(pair.publication / "checkpoint").read_bytes()] = None  # whose tiles are there, wherever it died
    opened = sorted((open_signed(note, keys) for note in notes), key=lambda one: one.checkpoint.size)
    newest = opened[-1].checkpoint
    tree = TreeReader(Published(pair.publication), newest.size, newest.root)
    assert all(tree.root_at(one.checkpoint.size) == one.checkpoint.root for one in opened)
    runs = [set(signers) for signers, _ in groupby(one.signers for one in opened)]
    assert runs[0] == {first}
    assert all(len(before) + len(after) == 3 and before & after for before, after in pairwise(runs)), "one, two, one, …"
    for one in opened:  # whoever has either vkey believes what both signed
        for key in one.signers:
            open_checkpoint(one.note.encode(), key)

    for words in ([str(pair.publication)], ["--database", "--ca", str(pair.publication / "ca")]):
        pair.verify(*words, "--log-key", str(last))
