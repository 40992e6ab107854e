"""The whole service against real Kafka and PostgreSQL, from its commands to the ledger's topic."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from grace_cli.testing.deployment import Deployment, running, stated
from grace_cli.verifying.keys import check_entries
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.identity import CertificateIssued
from grace_common.contract.events.ledger import CheckpointPublished
from grace_common.contract.events.round import TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested, NotarizedEntry
from grace_common.contract.events.task import KeyRevocationRequested, ProducerEnrolled, TaskSubmitted
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.database import Database
from grace_common.runtime.identity import Workload, key_id
from grace_common.runtime.service import Service
from grace_common.testing.failpoints import deaths
from grace_common.testing.ledger import MemoryLog
from grace_common.transparency.attestation import Attestation
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.dsse import DsseEnvelope
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import OperationKey, PublishedKey, read_leaf
from grace_common.transparency.statement import key_id as id_of
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import directory_files, key_files, key_uses
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.domain.certificate import stated as certificate_of
from grace_crypto_signer.main import build, compose
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.sealed import unsealed
from grace_crypto_signer.settings import Settings
from pydantic import SecretStr

from .examples import entries_of, private_key

E = TypeVar("E", bound=Event)


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the crypto-signer as a supervisor does."""
    given = {
        f"GRACE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRACE_")}
    command = [sys.executable, "-m", "grace_crypto_signer", *arguments]
    return subprocess.run(command, env=kept | given, capture_output=True, text=True, check=False, timeout=120)


def succeed(settings: Settings, *arguments: str) -> str:
    done = run(settings, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def settings(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a crypto-signer whose keys and identity were made by its own commands."""
    folder = tmp_path_factory.mktemp("crypto-signer")
    given = deployment.settings("crypto-signer", state_dir=folder / "state", identity_dir=folder / "crypto-signer")
    settings = Settings(**given.model_dump())
    assert "migrate" in run(settings, "unknown").stderr
    succeed(settings, "migrate")
    assert "init" in run(settings, "issue", "gateway", "--out", str(folder / "gateway")).stderr
    assert "made" in succeed(settings, "init")
    assert "present" in succeed(settings, "init")
    for service in (topics.CRYPTO_SIGNER, topics.GATEWAY, topics.MTL_ORCHESTRATOR):
        succeed(settings, "issue", service, "--out", str(folder / service))
    return settings


def workload(settings: Settings, service: str) -> Workload:
    return Workload.load(settings.identity_dir.parent / service)


async def next_of(consumer: AIOKafkaConsumer, type_: type[E], about: str) -> tuple[Envelope, E]:
    """Return the next event of one type whose record mentions `about`."""
    async with asyncio.timeout(60):
        async for record in consumer:
            opened = envelope.open(record.value)
            if isinstance(opened.event, type_) and about in record.value.decode():
                return opened, opened.event
    raise AssertionError("the consumer ended")


async def entry_of(consumer: AIOKafkaConsumer, wanted: Callable[[NotarizedEntry], bool]) -> NotarizedEntry:
    """Return the next entry of the ledger that is wanted; those stated with it are passed over."""
    async with asyncio.timeout(60):
        async for record in consumer:
            for entry in entries_of([record.value]):
                if wanted(entry):
                    return entry
    raise AssertionError("the consumer ended")


async def missing(service: Service, component: str) -> str:
    """Return what a component says that it lacks, once it does."""
    while True:
        said = (await service.readiness())[component]
        if said is not None:
            return said
        await asyncio.sleep(0.1)


def test_an_issued_identity_is_private_and_certified_by_the_ca(settings: Settings) -> None:
    folder = settings.identity_dir

    loaded = Workload.load(folder)

    assert loaded.authorities.issuer_of(loaded.certificate) == loaded.authorities.keys[0]
    assert loaded.certificate.public_key() == loaded.key.public_key()
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_service_that_grace_does_not_have_gets_no_identity(settings: Settings, tmp_path: Path) -> None:
    done = run(settings, "issue", "intruder", "--out", str(tmp_path / "intruder"))

    assert done.returncode != 0
    assert "no service 'intruder'" in done.stderr
    assert "no service 'intruder'" in run(settings, "init", "intruder", "--out-root", str(tmp_path)).stderr
    assert not (tmp_path / "intruder").exists()


def test_identities_are_made_together_where_they_are_lacking_and_stay_where_they_hold(
    settings: Settings, tmp_path: Path
) -> None:
    def init(*services: str) -> str:
        return succeed(settings, "init", *services, "--out-root", str(tmp_path))

    def key(service: str) -> bytes:
        return Workload.load(tmp_path / service).key.public_key().public_bytes_raw()

    assert init("consensus", "code-gen", "gateway").count("certificate of") == 3
    before = {service: key(service) for service in ("consensus", "code-gen", "gateway")}
    assert "certificate of" not in init("consensus", "code-gen", "gateway")

    (tmp_path / "code-gen" / "key.pem").write_bytes((tmp_path / "gateway" / "key.pem").read_bytes())
    shutil.copytree(tmp_path / "gateway", tmp_path / "audit-log")  # certified, but as another service
    said = init("consensus", "code-gen", "gateway", "audit-log", "mtl-orchestrator")

    assert [line.split()[2] for line in said.splitlines() if line.startswith("certificate of")] == [
        "service/code-gen",
        "service/audit-log",
        "service/mtl-orchestrator",
    ]
    assert (key("consensus"), key("gateway")) == (before["consensus"], before["gateway"])
    assert len({key(service) for service in ("consensus", "code-gen", "gateway", "audit-log")}) == 4
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.glob("*/*.pem"))


async def test_a_revoked_key_is_told_and_replaced_by_an_operator_alone(settings: Settings, tmp_path: Path) -> None:
    succeed(settings, "init", "consensus", "--out-root", str(tmp_path))
    mine = Workload.load(tmp_path / "consensus")
    database = Database(settings.database_url.get_secret_value())
    async with database.transaction():
        certificates = PostgresCertificates(database)
        fact = await certificates.find(key_id(mine.key.public_key()))
        assert fact is not None
        await certificates.keep(fact.model_copy(update={"revoked_at": datetime.now(UTC), "reason": "laptop lost"}))
    await database.close()

    said = await asyncio.to_thread(succeed, settings, "init", "consensus", "--out-root", str(tmp_path))

    assert f"the key of consensus is revoked; `issue consensus --out {tmp_path / 'consensus'}`" in said
    assert Workload.load(tmp_path / "consensus").certificate == mine.certificate


async def test_every_fact_is_notarised_and_a_delivered_artifact_attested(
    deployment: Deployment, settings: Settings
) -> None:
    task = TaskSubmitted.example().model_copy(update={"task_id": uuid4()})
    submitted, done = stated(task), stated(TaskCompleted.example().model_copy(update={"task_id": task.task_id}))
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(build(settings)):
        await deployment.send("gateway", submitted, workload=workload(settings, "gateway"))
        entry = await entry_of(entries, lambda one: one.entry_id == submitted.id)
        await deployment.send("mtl-orchestrator", done, workload=workload(settings, "mtl-orchestrator"))
        attested = await entry_of(entries, lambda one: one.entry_type == ArtifactAttested.TYPE)

    assert (entry.payload or "").encode() == envelope.encode(submitted)
    attestation = Attestation.parse(DsseEnvelope.parse(attested.leaf.encode()).payload)
    assert [one.sha256 for one in attestation.subjects] == ["01" * 32]
    assert attested.correlation == str(task.task_id)


async def test_a_sealed_signer_signs_nothing_until_three_shares_open_it(
    deployment: Deployment, settings: Settings
) -> None:
    closed = settings.model_copy(update={"sealed": True})
    passphrase = settings.passphrase_file.read_bytes()
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    task = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries:
        await deployment.send("gateway", task, workload=workload(settings, "gateway"))
        waiting = asyncio.create_task(unsealed(closed))
        assert await entries.getmany(timeout_ms=1000) == {}
        waiting.cancel()
        await asyncio.wait([waiting])
        async with running(compose(closed, kek)):
            await entry_of(entries, lambda one: one.entry_id == task.id)

    assert settings.passphrase_file.read_bytes() == passphrase


async def test_where_the_keys_are_sealed_identities_that_last_need_none(settings: Settings, tmp_path: Path) -> None:
    closed = settings.model_copy(update={"sealed": True, "kek_passphrase_file": tmp_path / "nobody-kept-it"})
    succeed(settings, "init", "consensus", "--out-root", str(tmp_path))

    assert "sealed; nothing needs them" in succeed(closed, "init", "consensus", "--out-root", str(tmp_path))
    said = run(closed, "init", "consensus", "code-gen", "--out-root", str(tmp_path)).stderr
    assert "no certificate that lasts: code-gen" in said
    assert "`grace keys renew`" in said
    (tmp_path / "code-gen").mkdir()
    kek = KeyRequest(folder=tmp_path, passphrase=SecretStr(settings.passphrase_file.read_text().strip()))
    await key_commands.renew(closed, kek)
    assert "sealed; nothing" in succeed(closed, "init", "consensus", "code-gen", "--out-root", str(tmp_path))


async def test_a_producer_is_certified_and_its_key_revoked(deployment: Deployment, settings: Settings) -> None:
    public_key = private_key(str(uuid4())).public_key()
    farm = ProducerEnrolled.example().model_copy(update={"public_key": public_key.public_bytes_raw()})
    gateway = workload(settings, "gateway")
    async with deployment.reading("gateway", topics.IDENTITY) as identities, running(build(settings)):
        await deployment.send("gateway", stated(farm), workload=gateway)
        _, issued = await next_of(identities, CertificateIssued, key_id(public_key))
        revocation = KeyRevocationRequested(key_id=issued.key_id, reason="laptop lost", by="olga")
        await deployment.send("gateway", stated(revocation), workload=gateway)
        _, revoked = await next_of(identities, CertificateIssued, "laptop lost")

    assert (issued.subject, issued.roles) == ("producer/build-farm", ("requester",))
    assert revoked.key_id == issued.key_id
    assert revoked.revoked_at is not None


async def test_certificates_are_stated_whenever_the_service_starts(deployment: Deployment, settings: Settings) -> None:
    own = key_id(workload(settings, topics.CRYPTO_SIGNER).key.public_key())
    async with deployment.reading("gateway", topics.IDENTITY) as identities, running(build(settings)):
        _, issued = await next_of(identities, CertificateIssued, own)

    assert issued.subject == "service/crypto-signer"


def test_a_rotation_makes_the_next_epoch(settings: Settings) -> None:
    assert "epoch 2 begins at" in succeed(settings, "rotate")


async def test_keys_are_replaced_under_load_and_no_record_is_lost_or_unverifiable(
    deployment: Deployment, settings: Settings
) -> None:
    running_on = settings.model_copy(update={"epochs_every_s": 0.05})
    gateway, now = workload(settings, "gateway"), datetime.now(UTC)
    sent: list[UUID] = []
    enough = asyncio.Event()

    async def send() -> None:
        while not enough.is_set() or len(sent) % 50:
            task = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))
            # An event's own time chooses its epoch, and one that is made now begins in two minutes.
            fact = replace(task, operation=uuid4(), time=now + timedelta(minutes=5 * (len(sent) % 2)))
            await deployment.send("gateway", fact, workload=gateway)
            sent.append(fact.id)

    heard: list[bytes] = []
    stated_ids: set[UUID] = set()
    announced: dict[str, str] = {}
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(build(running_on)):

        async def hear(until: Callable[[], bool]) -> None:
            async with asyncio.timeout(90):
                while not until():
                    for entry in entries_of([(await entries.getone()).value]):
                        heard.append(entry.leaf.encode())
                        _, statement = read_leaf(heard[-1])
                        assert statement is not None
                        match statement.announced:
                            case PublishedKey() as key:
                                announced[key.key_id] = key.purpose
                            case OperationKey() as key:
                                epochs.add(key.epoch)
                            case None:
                                stated_ids.add(entry.entry_id)

        epochs: set[int] = set()
        sending = asyncio.create_task(send())
        await hear(lambda: bool(stated_ids))
        replaced = await key_commands.rotate(settings, KeyRequest(level="epoch"))
        await hear(lambda: replaced["number"] in epochs)
        for level in ("notary", "attestation", "notary"):
            made = await key_commands.rotate(settings, KeyRequest(level=level))
            await hear(lambda made=made: made["key_id"] in announced)
        enough.set()
        await sending
        await hear(lambda: stated_ids.issuperset(sent))

    authority = key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain).own.authority
    checked = check_entries(list(enumerate(heard)), {("ca", authority.key_id): authority.public_key})
    assert (checked.faults, checked.pending) == ([], [])
    assert list(announced.values()).count("notary") == 3
    assert len(epochs) >= 2


async def test_the_ca_is_replaced_under_load_and_nothing_counts_afterwards_that_the_ended_one_alone_certified(
    deployment: Deployment, settings: Settings
) -> None:
    gateway, now = workload(settings, "gateway"), datetime.now(UTC)
    before = key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain)
    thief = private_key(str(uuid4()))
    forged = before.authority.issue(
        "service/gateway", thief.public_key(), serial=1, now=now, until=now + timedelta(days=9)
    )
    sent: list[UUID] = []
    enough = asyncio.Event()

    async def send() -> None:
        while not enough.is_set() or len(sent) % 50:
            fact = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))
            await deployment.send("gateway", fact, workload=gateway)
            sent.append(fact.id)

    heard: list[bytes] = []
    stated_ids: set[UUID] = set()
    published: set[str] = set()
    request = KeyRequest(level="ca", folder=settings.identity_dir.parent)
    service = build(settings.model_copy(update={"epochs_every_s": 0.05}))
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(service):

        async def hear(until: Callable[[], bool]) -> None:
            async with asyncio.timeout(90):
                while not until():
                    for entry in entries_of([(await entries.getone()).value]):
                        heard.append(entry.leaf.encode())
                        _, statement = read_leaf(heard[-1])
                        assert statement is not None
                        match statement.announced:
                            case PublishedKey() as key:
                                published.add(key.key_id)
                            case None:
                                stated_ids.add(entry.entry_id)

        async def steal(task: UUID) -> UUID:
            fact = stated(TaskSubmitted.example().model_copy(update={"task_id": task}))
            await deployment.send("gateway", fact, workload=replace(gateway, key=thief))
            return fact.id

        async def is_refused() -> bool:
            task = uuid4()
            refused = await steal(task)
            good = stated(TaskSubmitted.example().model_copy(update={"task_id": task}))  # behind it in the partition
            await deployment.send("gateway", good, workload=gateway)
            await hear(lambda: good.id in stated_ids)
            return refused not in stated_ids

        own = workload(settings, topics.CRYPTO_SIGNER)
        await deployment.send(
            topics.CRYPTO_SIGNER,
            stated(certificate_of(forged, "service/gateway"), "/grace/crypto-signer"),
            workload=own,
        )
        taken = await steal(uuid4())
        await hear(lambda: taken in stated_ids)
        sending = asyncio.create_task(send())
        await hear(lambda: bool(stated_ids.intersection(sent)))
        rotated = await key_commands.rotate(settings, request)
        after = key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain)
        await hear(lambda: after.own.notary.key_id in published)
        await key_commands.retire(settings, request)
        retired = len(sent)
        async with asyncio.timeout(60):  # the signer that runs takes a moment to look
            while not await is_refused():
                pass
        for_good = [await is_refused() for _ in range(3)]
        await hear(lambda: len(sent) >= retired + 50)
        enough.set()
        await sending
        await hear(lambda: stated_ids.issuperset(sent))

    assert rotated["key_id"] == after.own.authority.key_id != before.own.authority.key_id
    assert for_good == [True, True, True]
    authorities = {("ca", one.key_id): one.public_key for one in (before.own.authority, after.own.authority)}
    checked = check_entries(list(enumerate(heard)), authorities)
    assert (checked.faults, checked.pending) == ([], [])
    assert workload(settings, "gateway").authorities.keys == (
        after.own.authority.public_key,
        before.own.authority.public_key,
    )


async def test_a_signer_that_starts_after_the_ca_was_replaced_knows_everybody(
    deployment: Deployment, settings: Settings
) -> None:
    task = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(build(settings)):
        await deployment.send("gateway", task, workload=workload(settings, "gateway"))
        await entry_of(entries, lambda one: one.entry_id == task.id)


async def test_every_level_is_replaced_by_age_and_by_count_under_load_and_no_record_is_lost_or_unverifiable(
    deployment: Deployment, settings: Settings
) -> None:
    """First by count, then by age, the running signer being the only one that replaces anything."""
    folder = settings.state_dir
    levels = ("kek", "ca", "notary", "attestation", "witness")
    never, second = {"kek_days": 9_000.0, "own_key_days": 9_000.0, "ca_days": 9_000.0}, 1 / 86_400
    own = {"notary_operations": 40, "attestation_statements": 1, "witness_checkpoints": 1}
    by_count = {**never, **own, "kek_seals": 1_000, "ca_certificates": 1, "root_days": 9_000.0}
    by_age = {"kek_days": second, "own_key_days": second, "ca_days": second, "witness_key_days": second}
    sent: list[UUID] = []
    heard: list[bytes] = []
    stated_ids: set[UUID] = set()
    authorities: dict[tuple[str, str], bytes] = {}

    def ids() -> dict[str, str]:
        for key in key_files.authorities(folder).keys:
            authorities["ca", id_of(key)] = key
        return {level: key_files.described(folder, level)[0] for level in levels}

    async def replaced(limits: dict[str, float | int], wanted: Collection[str]) -> None:
        """Send records, deliveries among them, until the running signer has replaced what is wanted."""
        before, begun = ids(), len(sent)
        more = {"epochs_every_s": 0.2, "identities_dir": settings.identity_dir.parent, "ca_overlap_days": second}
        limited = settings.model_copy(update={**more, **limits})
        async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(build(limited)):

            async def hear(until: Callable[[], bool]) -> None:
                async with asyncio.timeout(120):
                    while not until():
                        for entry in entries_of([(await entries.getone()).value]):
                            heard.append(entry.leaf.encode())
                            if read_leaf(heard[-1])[1] is not None:
                                stated_ids.add(entry.entry_id)

            async with asyncio.timeout(120):
                while len(sent) < begun + 60 or any(ids()[level] == before[level] for level in wanted):
                    task = TaskSubmitted.example().model_copy(update={"task_id": uuid4()})
                    done = TaskCompleted.example().model_copy(update={"task_id": task.task_id})
                    facts = [replace(stated(one), operation=uuid4()) for one in (task, done)]
                    for service, fact in zip(("gateway", "mtl-orchestrator"), facts, strict=True):
                        await deployment.send(service, fact, workload=workload(settings, service))
                        sent.append(fact.id)
            await hear(lambda: stated_ids.issuperset(sent))

    key_uses.add(folder, {ids()["kek"]: 990, ids()["witness"]: 1, ids()["ca"]: 1})
    await replaced(by_count, levels)
    await replaced(by_age, levels)

    vault = key_files.load(folder, settings.passphrase_file, settings.trust_domain)
    authorities["ca", vault.own.authority.key_id] = vault.own.authority.public_key
    checked = check_entries(list(enumerate(heard)), authorities)
    assert (checked.faults, checked.pending) == ([], [])
    directory = directory_files.newest(folder)
    assert directory is not None
    assert len(directory.of("ca")) == len(vault.authorities.keys) >= 3
    assert min(len(directory.of(purpose)) for purpose in ("notary", "attestation", "witness")) >= 3


@pytest.mark.parametrize(
    ("stage", "limits"),
    [
        ("kek.begun", {"kek_days": 1e-6}),
        ("kek.resealed", {"kek_days": 1e-6}),
        ("ca.prepared", {"ca_days": 1e-6}),
        ("ca.entered", {"ca_days": 1e-6}),
        ("ca.ended", {"ca_days": 1e-6, "ca_overlap_days": 0.0}),
    ],
)
async def test_a_replacement_in_which_the_signer_dies_is_finished_by_the_next_one(
    deployment: Deployment, settings: Settings, stage: str, limits: dict[str, float]
) -> None:
    identities = {"epochs_every_s": 0.1, "identities_dir": settings.identity_dir.parent}
    dies = settings.model_copy(update={**identities, **limits, "failpoint": stage})
    killed = await asyncio.to_thread(run, dies)
    assert (killed.returncode, deaths(settings.state_dir)[-1].stage) == (-signal.SIGKILL, stage), killed.stderr
    fact = stated(TaskSubmitted.example().model_copy(update={"task_id": uuid4()}))

    lasting = settings.model_copy(update={**identities, "ca_overlap_days": 0.0})
    async with deployment.reading("audit-log", topics.SIGNATURE) as entries, running(build(lasting)):
        async with asyncio.timeout(60):
            await one_of_each(settings)
        await deployment.send("gateway", fact, workload=workload(settings, "gateway"))
        await entry_of(entries, lambda one: one.entry_id == fact.id)

    vault = key_files.load(settings.state_dir, settings.passphrase_file, settings.trust_domain)
    assert workload(settings, "gateway").authorities == vault.authorities


async def one_of_each(settings: Settings) -> None:
    """Return once one KEK seals everything, and one CA counts in every folder."""
    folder = settings.state_dir
    while True:
        counting = (key_files.authorities(folder), workload(settings, "gateway").authorities)
        whole = not key_files.kek_is_changing(folder) and not key_files.next_ca_file(folder).exists()
        if whole and all(len(known.held) == 1 for known in counting):
            return
        await asyncio.sleep(0.05)


def test_without_its_passphrase_the_service_does_not_start(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="init"):
        build(settings.model_copy(update={"kek_passphrase_file": tmp_path / "lost"}))


async def test_an_announced_checkpoint_is_cosigned_and_a_forks_is_not(
    deployment: Deployment, settings: Settings, tmp_path: Path
) -> None:
    succeed(settings, "issue", topics.AUDIT_LOG, "--out", str(settings.identity_dir.parent / topics.AUDIT_LOG))
    witness = build(settings.model_copy(update={"publication_dir": tmp_path}))
    log, fork = MemoryLog("grace.local/log"), MemoryLog("grace.local/log")

    async def announce(one: MemoryLog, *entries: bytes) -> CheckpointPublished:
        one.append(*entries)
        note = one.publish()
        for path, data in one.files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(data)
        root = one.tree().root_at(len(one.entries)).hex()
        told = CheckpointPublished(tree_size=len(one.entries), root_sha256=root, checkpoint=note.decode())
        fact = stated(told, "/grace/audit-log")
        await deployment.send(topics.AUDIT_LOG, fact, workload=workload(settings, topics.AUDIT_LOG))
        return told

    async with deployment.reading(topics.AUDIT_LOG, topics.WITNESS) as cosigned, running(witness):
        for entries in ((b"one", b"two"), (b"three",)):
            told = await announce(log, *entries)
            _, event = await next_of(cosigned, CheckpointCosigned, told.root_sha256)
            key = VerifierKey.parse(event.witness)
            assert (
                open_checkpoint(event.checkpoint.encode(), log.key, [key], quorum=1).checkpoint.size == told.tree_size
            )
        await announce(fork, b"one", b"2", b"three", b"four")
        async with asyncio.timeout(60):
            said = await missing(witness, "witness")
        assert "ALARM" in said
        assert await cosigned.getmany(timeout_ms=1000) == {}
