"""The whole service against real Kafka and PostgreSQL."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer
from grace_audit_log.adapters.publication import FolderPublication
from grace_audit_log.main import build
from grace_audit_log.settings import Settings
from grace_cli.testing.deployment import Deployment, running, stated
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed
from grace_common.contract.events.signature import EntriesNotarized, NotarizedEntry
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.service import Service
from grace_common.testing.ledger import SeededKey
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import Note, SignatureType, VerifierKey
from grace_common.transparency.policy import Policy
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED
from grace_common.transparency.tile import TreeReader
from grace_common.transparency.witness import open_signed
from pydantic import SecretStr

from .directories import version

COMMAND = [sys.executable, "-m", "grace_audit_log"]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment from which a process reads these settings."""
    given = {
        f"GRACE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("GRACE_")} | given


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the audit-log as a supervisor does."""
    command = [*COMMAND, *arguments]
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def settings(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("audit-log")
    given = deployment.settings("audit-log", state_dir=folder / "state", publication_dir=folder / "log")
    settings = Settings(**given.model_dump())
    assert "unknown arguments" in run(settings, "unknown").stderr
    migrated = run(settings, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    return settings


def notarized() -> NotarizedEntry:
    id_ = SystemClock().new_id()
    example = EntriesNotarized.example().entries[0]
    return example.model_copy(update={"entry_id": id_, "leaf": f"leaf of {id_}"})


def told_of(*entries: NotarizedEntry) -> Envelope:
    return stated(EntriesNotarized(entries=entries), "/grace/crypto-signer")


async def until_told(consumer: AIOKafkaConsumer, wanted: Sequence[UUID]) -> tuple[dict[UUID, int], CheckpointPublished]:
    """Return where the wanted entries stand, and the first checkpoint told after the last of them."""
    places: dict[UUID, int] = {}
    async with asyncio.timeout(60):
        async for record in consumer:
            event = envelope.open(record.value).event
            if isinstance(event, EntriesSealed):
                places |= {entry.entry_id: entry.index for entry in event.entries}
            elif isinstance(event, CheckpointPublished) and set(wanted) <= places.keys():
                return places, event
    raise AssertionError("the consumer ended")


async def published(files: FolderPublication, path: str) -> bytes:
    """Return a file once it is there."""
    while True:
        with suppress(Unready):
            return files.read(path)
        await asyncio.sleep(0.1)


async def until(reached: Callable[[], bool]) -> None:
    """Return once it is so; whoever calls bounds the time."""
    while True:
        if reached():
            return
        await asyncio.sleep(0.05)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_what_is_notarised_is_sealed_published_and_told_and_a_copy_is_not_sealed_again(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    entries = [notarized() for _ in range(300)]
    facts = [told_of(*entries[start : start + 7]) for start in range(0, 300, 7)]
    async with deployment.reading("gateway", topics.LEDGER) as ledger:
        async with running(build(settings)):
            await deployment.send("crypto-signer", *facts)
            places, _ = await until_told(ledger, [entry.entry_id for entry in entries])
        late = notarized()
        async with running(build(settings)):
            await deployment.send("crypto-signer", *facts[:3], told_of(late))
            later, told = await until_told(ledger, [late.entry_id])

    assert later[late.entry_id] == max(places.values()) + 1
    assert all(later[entry.entry_id] == places[entry.entry_id] for entry in entries if entry.entry_id in later)
    files = FolderPublication(settings.publication_dir)
    key = VerifierKey.parse(files.read("vkey").decode().strip())
    checkpoint = open_checkpoint(told.checkpoint.encode(), key).checkpoint
    assert files.read("checkpoint") == told.checkpoint.encode()
    tree = TreeReader(files, checkpoint.size, checkpoint.root)
    assert [tree.entry(places[entry.entry_id]) for entry in entries] == [entry.leaf.encode() for entry in entries]

    exported = run(settings, "export", str(tmp_path / "export"))
    assert exported.stdout == f"exported {checkpoint.size} entries to {tmp_path / 'export'}\n"
    live = content(settings.publication_dir)
    assert content(tmp_path / "export").items() <= live.items()


async def test_an_instance_that_stands_by_goes_on_where_one_that_was_killed_left_off(
    deployment: Deployment, settings: Settings
) -> None:
    async def sealed(*entries: NotarizedEntry) -> list[int]:
        await deployment.send("crypto-signer", told_of(*entries))
        places, _ = await until_told(ledger, [entry.entry_id for entry in entries])
        return [places[entry.entry_id] for entry in entries]

    async with deployment.reading("gateway", topics.LEDGER) as ledger:
        first = await asyncio.create_subprocess_exec(*COMMAND, env=environment(settings), stdout=subprocess.DEVNULL)
        second = build(settings.model_copy(update={"instance": "second"}))
        running_second = None
        try:
            before = await sealed(notarized())
            running_second = asyncio.create_task(second.run())
            await until_standing_by(second)
            before += await sealed(notarized(), notarized())
            first.kill()
            await first.wait()
            after = await sealed(notarized(), notarized())
            assert (await second.readiness())["publication"] is None
        finally:
            if first.returncode is None:
                first.kill()
            await first.wait()
            if running_second is not None:
                second.end()
                await running_second

    assert [*before, *after] == list(range(before[0], before[0] + 5))


async def until_standing_by(service: Service) -> None:
    """Wait until the service lacks nothing but the lock that another instance holds."""
    async with asyncio.timeout(60):
        while True:
            missing = {name: why for name, why in (await service.readiness()).items() if why is not None}
            if missing.keys() == {"publication"} and "standing by" in missing["publication"]:
                return
            await asyncio.sleep(0.1)


async def test_an_instance_that_stands_by_stops_when_it_is_told_to(deployment: Deployment, settings: Settings) -> None:
    async with running(build(settings)), deployment.reading("gateway", topics.LEDGER) as ledger:
        second = build(settings.model_copy(update={"instance": "second"}))
        task = asyncio.create_task(second.run())
        await until_standing_by(second)
        entry = notarized()
        await deployment.send("crypto-signer", told_of(entry))
        await until_told(ledger, [entry.entry_id])  # which the second instance holds in its hands as well
        second.end()
        await task


async def test_what_the_witness_cosigned_is_published_beside_the_newest_checkpoint(
    deployment: Deployment, settings: Settings
) -> None:
    witness, files = SeededKey("witness"), FolderPublication(settings.publication_dir)
    key = witness.named("grace.local/witness", SignatureType.COSIGNATURE)
    async with running(build(settings)):
        log_key = VerifierKey.parse(files.read("vkey").decode().strip())
        tree = open_signed(files.read("checkpoint"), [log_key])
        _, note = tree.cosigned(key, witness.sign, 1_700_000_000)
        told = CheckpointCosigned(
            tree_size=tree.checkpoint.size,
            root_sha256=tree.checkpoint.root.hex(),
            checkpoint=note.encode().decode(),
            witness=str(key),
        )
        await deployment.send("crypto-signer", stated(told, "/grace/crypto-signer"))
        async with asyncio.timeout(60):
            cosigned = await published(files, "checkpoint.cosigned")

    assert cosigned == note.encode()
    assert Policy.parse(files.read("witness-policy")).open(note.encode()).checkpoint == tree.checkpoint


def test_the_log_key_is_private_and_one_that_others_can_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    changed = settings.model_copy(update={"state_dir": tmp_path})
    build(changed)
    file = tmp_path / "log-key.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    build(changed)
    assert file.read_bytes() == before

    file.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        build(changed)
    file.write_bytes(b"no key")
    file.chmod(0o600)
    with pytest.raises(Refused, match="no Ed25519 key"):
        build(changed)


def test_a_witness_policy_that_is_none_or_of_another_log_is_refused_at_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    file, stranger = tmp_path / "policy", SeededKey("stranger").named(settings.log_origin)
    witness = SeededKey("witness").named("w.example", SignatureType.COSIGNATURE)
    changed = settings.model_copy(update={"witness_policy": file, "state_dir": tmp_path})

    for content, why in (
        (None, "is no witness policy"),
        ("quorum nobody\n", "is no witness policy"),
        (f"log {stranger}\nquorum none\n", "not this one"),
        (f"witness w {witness} ftp://w.example\nquorum w\n", "the address"),
    ):
        if content is not None:
            file.write_text(content)
        with pytest.raises(Refused, match=why):
            build(changed)
    file.write_text(f"witness w {witness} https://w.example\nquorum w\n")
    assert len(build(changed).background) == len(build(settings).background) + 1


async def test_the_logs_key_is_succeeded_by_command_under_load_and_no_entry_is_lost(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    files, sent, told = FolderPublication(settings.publication_dir), list[UUID](), list[bytes]()
    places: dict[UUID, int] = {}
    versions: list[bytes] = []
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            entries = [notarized() for _ in range(20)]
            await deployment.send("crypto-signer", told_of(*entries))
            sent.extend(entry.entry_id for entry in entries)

    async def listen() -> None:
        async for record in ledger:
            event = envelope.open(record.value).event
            if isinstance(event, EntriesSealed):
                places.update({entry.entry_id: entry.index for entry in event.entries})
            elif isinstance(event, CheckpointPublished):
                told.append(event.checkpoint.encode())

    async def list_keys(*in_use: VerifierKey, ended: Sequence[VerifierKey] = ()) -> None:
        """Let a version of the key directory become an entry, and wait until it is published."""
        versions.append(version(versions, *in_use, ended=ended))
        fact = notarized().model_copy(update={"entry_type": KEY_DIRECTORY_PUBLISHED, "payload": versions[-1].decode()})
        await deployment.send("crypto-signer", told_of(fact))
        await published(files, f"keys/{len(versions):04}.json")

    async def until_signed_by(*keys: VerifierKey) -> None:
        wanted = [key.key_id for key in keys]
        await until(lambda: [line.key_id for line in Note.parse(files.read("checkpoint")).signatures] == wanted)

    async with deployment.reading("gateway", topics.LEDGER) as ledger, asyncio.timeout(180):
        async with running(build(settings)):
            tasks = [asyncio.create_task(load()), asyncio.create_task(listen())]
            first = VerifierKey.parse(files.read("vkey").decode().strip())
            await list_keys(first)
            made = await asyncio.to_thread(run, settings, "key", "rotate")
            again = await asyncio.to_thread(run, settings, "key", "rotate")
            said = json.loads(made.stdout)
            second = VerifierKey.parse(said["successor"])
            assert (said["log_key"], again.stdout) == (str(first), made.stdout)

            await list_keys(first, second)
            await until_signed_by(second, first)
            refused = await asyncio.to_thread(run, settings, "key", "rotate")
            assert "two keys sign this log already" in refused.stderr
        async with running(build(settings)):  # which begins while both sign
            await until_signed_by(second, first)
            await list_keys(second, ended=[first])
            await until_signed_by(second)
            stop.set()
            await tasks[0]
            await until(lambda: set(sent) <= places.keys())
            await until(lambda: not (settings.state_dir / "log-key-before.pem").exists())
            tasks[1].cancel()

    assert VerifierKey.parse(files.read("vkey").decode().strip()) == second
    opened = [open_checkpoint(note, [second, first]) for note in told]
    newest = opened[-1].checkpoint
    tree = TreeReader(files, newest.size, newest.root)
    assert all(tree.root_at(one.checkpoint.size) == one.checkpoint.root for one in opened)
    assert [one.checkpoint.size for one in opened] == sorted(one.checkpoint.size for one in opened)
    runs = [signers for signers, _ in groupby(one.signers for one in opened)]
    assert runs == [(first,), (second, first), (second,)]
    assert sorted(places[id_] for id_ in sent) == sorted({places[id_] for id_ in sent})
    exported = run(settings, "export", str(tmp_path / "export"))
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "export/vkey").read_text() == f"{second}\n"
