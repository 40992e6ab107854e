"""Backup, restoration and drill: from one file and three shares the signer goes on, from less it does not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.database import Database
from grace_common.testing.clock import FixedClock
from grace_crypto_signer import commands, key_commands
from grace_crypto_signer.adapters import backup_file, directory_files, key_files, root_files
from grace_crypto_signer.adapters.backup_file import Backup
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.sealing import LiveKek, pretty
from grace_crypto_signer.adapters.share_files import HeldShare, split_root
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.drill import drill
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings
from pydantic import SecretStr

from .examples import TIME

DOMAIN = "grace.local"
PEOPLE = [("ada", b"one"), ("grace", b"two"), ("olga", b"three"), ("anton", b"four"), ("emmy", b"five")]
COST = {"n": 1 << 10, "r": 8, "p": 1}


@dataclass(frozen=True)
class Kept:
    """A signer's keys on disk and in the database, its root handed out; and what a backup of it is."""

    settings: Settings
    shares: list[HeldShare]
    backup: Backup

    @property
    def folder(self) -> Path:
        return self.settings.state_dir

    def request(self, count: int = 3, **more: object) -> KeyRequest:
        shares = [
            {"name": one.name, "content": one.data.decode(), "passphrase": one.passphrase.decode()}
            for one in self.shares[:count]
        ]
        return KeyRequest.model_validate({"shares": shares, **more})


def settings_of(folder: Path, database_url: str = "postgresql://127.0.0.1:1/grace") -> Settings:
    return Settings(
        kafka_bootstrap="127.0.0.1:1",
        database_url=SecretStr(database_url),
        identity_dir=folder / "identity",
        state_dir=folder / "state",
        publication_dir=folder / "log",
        schemas_dir=folder,
        http_port=0,
    )


@pytest.fixture
async def kept(database: Database, database_url: str, tmp_path: Path) -> Kept:
    settings = settings_of(tmp_path, database_url)
    await commands.init(settings, {})
    vault = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN)
    await PostgresEpochs(database, vault.kek).rotate(TIME)
    async with database.transaction():
        await PostgresCertificates(database).keep(CertificateIssued.example())
    assert vault.root is not None
    split = split_root(vault.root, PEOPLE, COST)
    root_files.record_split(settings.state_dir, split)
    shares = [HeldShare(n, d, p) for (n, d), (_, p) in zip(split.files.items(), PEOPLE, strict=True)]
    await key_commands.backup(settings, KeyRequest(file=tmp_path / "backup.json"))
    return Kept(settings, shares, Backup.parse((tmp_path / "backup.json").read_bytes(), "backup.json"))


async def test_the_restored_signer_makes_the_same_keys(kept: Kept, database: Database, tmp_path: Path) -> None:
    before = key_files.load(kept.folder, kept.settings.passphrase_file, DOMAIN)
    keyring = await PostgresEpochs(database, before.kek).load()
    elsewhere = settings_of(tmp_path / "elsewhere", kept.settings.database_url.get_secret_value())

    answer = await key_commands.restore(elsewhere, kept.request(file=tmp_path / "backup.json"))
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DELETE FROM epoch")
        await connection.exec_driver_sql("DELETE FROM certificate")
    await commands.init(elsewhere, {})

    after = key_files.load(elsewhere.state_dir, elsewhere.passphrase_file, DOMAIN)
    again = await PostgresEpochs(database, after.kek).load()
    operation = uuid4()
    assert (after.own, after.kek) == (before.own, before.kek)
    assert after.authority.certificate == before.authority.certificate
    *restored, fresh = again.epochs
    assert [one.operation_key(operation) for one in restored] == [
        one.operation_key(operation) for one in keyring.epochs
    ]
    assert fresh.number == 2 + commands.EPOCHS_LEFT_OUT, "the number of a lost epoch is never given to another seed"
    assert answer["epochs"] == 2
    assert await PostgresCertificates(database).every() == [CertificateIssued.example()]
    assert after.root is None
    assert after.witness != before.witness, "a witness without its memory must not sign under its old name"
    assert "witness.sealed.json" not in kept.backup.files
    assert directory_files.signed_versions(elsewhere.state_dir) == directory_files.signed_versions(kept.folder) != []
    assert all(file.stat().st_mode & 0o077 == 0 for file in elsewhere.state_dir.iterdir())
    await commands.init(elsewhere, {})  # nothing waits any more


async def test_a_drill_restores_and_signs_with_the_keys_of_every_epoch(kept: Kept, tmp_path: Path) -> None:
    answer = await key_commands.drill(kept.settings, kept.request(file=tmp_path / "backup.json"))

    assert (answer["epochs"], answer["entries_signed_and_verified"]) == (2, 4)


async def test_two_shares_do_not_suffice(kept: Kept, tmp_path: Path) -> None:
    request = kept.request(2, file=tmp_path / "backup.json")

    for work in (key_commands.drill, key_commands.restore):
        with pytest.raises(Refused, match="2 shares do not suffice: 3 are needed, 1 more"):
            await work(settings_of(tmp_path / "elsewhere"), request)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_wrong_share_is_named(kept: Kept) -> None:
    wrong = [*kept.shares[:2], replace(kept.shares[2], passphrase=b"guess")]

    with pytest.raises(Refused, match=r"share-3-olga\.json, the share of olga, does not open"):
        drill(kept.backup, wrong, DOMAIN)


async def test_three_shares_open_the_keys_when_the_passphrase_is_lost(kept: Kept, tmp_path: Path) -> None:
    kept.settings.passphrase_file.unlink()
    with pytest.raises(Refused, match="kek-passphrase is missing"):
        await key_commands.passphrase(kept.settings, KeyRequest())

    await key_commands.passphrase(kept.settings, kept.request(new_passphrase="kept by people"))
    assert not kept.settings.passphrase_file.exists()
    await key_commands.backup(
        kept.settings, KeyRequest(file=tmp_path / "second.json", passphrase=SecretStr("kept by people"))
    )
    with pytest.raises(Refused, match="the passphrase does not open"):
        await key_commands.passphrase(kept.settings, KeyRequest(passphrase=SecretStr("guess")))
    answer = await key_commands.passphrase(kept.settings, KeyRequest(passphrase=SecretStr("kept by people")))

    assert answer["kept_in"] == str(kept.settings.passphrase_file)
    key_files.load(kept.folder, kept.settings.passphrase_file, DOMAIN)
    assert sorted(file.name for file in kept.folder.glob("kek-passphrase*")) == ["kek-passphrase"]


async def test_a_backup_opens_with_no_passphrase(kept: Kept) -> None:
    passphrase = key_files.read_passphrase(kept.settings.passphrase_file)
    stored = orjson.loads(kept.backup.files["kek.sealed.json"])

    assert set(stored) == {"version", "id", "made_at", "root", "sealed_to_root"}
    assert passphrase not in kept.backup.encode()
    assert "root.sealed.json" not in kept.backup.files
    assert kept.backup.encode() == Backup.parse(kept.backup.encode(), "backup.json").encode()


async def test_without_shares_there_is_no_backup(database: Database, database_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url)
    await commands.init(settings, {})

    with pytest.raises(Refused, match="nobody holds a share of the root yet"):
        await key_commands.backup(settings, KeyRequest(file=tmp_path / "backup.json"))
    assert not (tmp_path / "backup.json").exists()


async def test_keys_that_are_there_are_never_overwritten(kept: Kept, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in kept.folder.iterdir()}

    with pytest.raises(Refused, match=r"holds keys already .*restore into an empty folder"):
        await key_commands.restore(kept.settings, kept.request(file=tmp_path / "backup.json"))

    assert {file.name: file.read_bytes() for file in kept.folder.iterdir()} == before


def rebuilt(backup: Backup, **changes: Mapping[str, object]) -> bytes:
    """Return a backup changed by somebody who knows the format, its digest and all."""
    return replace(backup, **changes).encode()  # type: ignore[arg-type]


async def test_a_backup_whose_parts_were_exchanged_does_not_open(kept: Kept, tmp_path: Path) -> None:
    files = kept.backup.files
    swapped = {**files, "notary.sealed.json": files["attestation.sealed.json"]}
    first, second = kept.backup.epochs
    crossed = [replace(first, sealed=second.sealed, nonce=second.nonce), second]

    for data, why in (
        (rebuilt(kept.backup, files=swapped), "does not open"),
        (rebuilt(kept.backup, epochs=crossed), "does not open"),  # type: ignore[arg-type]
        (rebuilt(kept.backup, probes={1: "00", 2: "00"}), "do not make the keys"),  # type: ignore[dict-item]
        (rebuilt(kept.backup, files={**files, "../evil": b"x"}), "names a file"),
    ):
        with pytest.raises(Refused, match=why):
            drill(Backup.parse(data, "backup.json"), kept.shares[:3], DOMAIN)


async def test_a_damaged_backup_is_told_and_leaves_nothing(kept: Kept, tmp_path: Path) -> None:
    data = (tmp_path / "backup.json").read_bytes()
    other = orjson.loads(data) | {"kind": "letter"}

    for content in (data[:-10], data.replace(b'"epochs"', b'"epoch"'), pretty(other), b"[]"):
        with pytest.raises(Refused, match=r"backup\.json is (damaged|no)"):
            Backup.parse(content, "backup.json")
    with pytest.raises(Refused, match="does not open"):
        backup_file.restore(kept.backup, Root(bytes(32)), b"x", tmp_path / "empty", DOMAIN, FixedClock())
    assert not list((tmp_path / "empty").iterdir())


async def test_the_shares_are_checked_before_the_root_goes(database_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, database_url)
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock())
    holders = [{"name": name, "passphrase": word.decode()} for name, word in PEOPLE[:3]]
    request = KeyRequest.model_validate({"folder": tmp_path / "shares", "holders": holders})
    for file in (tmp_path / "shares",):
        file.mkdir()
        (file / "share-1-ada.json").write_text("mine")
    with pytest.raises(Refused, match="never overwritten"):
        await key_commands.split(settings, request)
    (tmp_path / "shares/share-1-ada.json").unlink()
    assert root_files.sealed_file(settings.state_dir).exists()

    answer = await key_commands.split(settings, request)

    assert answer["shares"] == ["share-1-ada.json", "share-2-grace.json", "share-3-olga.json"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "shares").iterdir())
    assert not root_files.sealed_file(settings.state_dir).exists()
    told = await key_commands.status(settings, KeyRequest())
    assert (told["holders"], told["root_kept_by_the_signer"]) == (["ada", "grace", "olga"], False)
    with pytest.raises(Refused, match="exists as shares alone: bring three"):
        await key_commands.split(settings, KeyRequest(folder=tmp_path / "again", holders=request.holders))
    assert "passphrase" not in repr(request.holders[0].passphrase)


async def test_a_request_that_lacks_something_says_what(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)

    with pytest.raises(Refused, match="names no file"):
        await key_commands.drill(settings, KeyRequest())
    with pytest.raises(Refused, match="names no folder"):
        await key_commands.split(settings, KeyRequest())
    with pytest.raises(Refused, match="cannot be read"):
        await key_commands.drill(settings, KeyRequest(file=tmp_path / "none"))
    with pytest.raises(Refused, match="request is malformed") as refused:
        KeyRequest.parse(b'{"passphrase": ["secret words"]}')
    assert "secret words" not in str(refused.value)


async def test_a_lost_database_is_waited_for_and_not_blamed_on_the_backup(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock())

    with pytest.raises(Unready, match="the database does not answer"):
        await key_commands.answer(key_commands.backup, settings, KeyRequest(file=tmp_path / "backup.json"))


async def test_the_key_encryption_key_changes_while_a_signer_runs(kept: Kept, database: Database) -> None:
    opened = key_files.open_kek(kept.folder, kept.settings.passphrase_file)
    reopen = partial(key_files.open_kek, kept.folder, kept.settings.passphrase_file)
    running = PostgresEpochs(database, LiveKek(opened, reopen))
    sealed = PostgresEpochs(database, LiveKek(opened, None))
    before = (await running.load()).epochs

    answer = await key_commands.rotate(kept.settings, KeyRequest(level="kek"))

    assert (answer["epochs"], answer["kek"] != opened.id) == (2, True)
    assert (await running.load()).epochs == before
    made = await running.rotate(TIME + timedelta(days=1))
    fresh = key_files.open_kek(kept.folder, kept.settings.passphrase_file)
    assert (await PostgresEpochs(database, fresh).load()).newest == made
    with pytest.raises(Refused, match="this one is"):
        await sealed.load()


async def test_a_change_of_the_key_encryption_key_that_was_cut_short_is_finished(
    kept: Kept, database: Database
) -> None:
    before = key_files.load(kept.folder, kept.settings.passphrase_file, DOMAIN)
    seeds = (await PostgresEpochs(database, before.kek).load()).epochs
    passphrase = key_files.read_passphrase(kept.settings.passphrase_file)
    begun = key_files.begin_kek(
        kept.folder, key_files.open_kek(kept.folder, kept.settings.passphrase_file), passphrase, TIME
    )
    with pytest.raises(Refused, match="is being changed: finish that first"):
        await key_commands.backup(kept.settings, KeyRequest(file=kept.folder.parent / "none.json"))

    answer = await key_commands.rotate(kept.settings, KeyRequest(level="kek"))

    assert answer == {"level": "kek", "kek": begun.id, "epochs": 2}
    after = key_files.load(kept.folder, kept.settings.passphrase_file, DOMAIN)
    assert (await PostgresEpochs(database, after.kek).load()).epochs == seeds
    assert after.own == before.own


async def test_an_epoch_is_made_by_command(kept: Kept) -> None:
    answer = await key_commands.rotate(kept.settings, KeyRequest(level="epoch"))

    assert answer["number"] == 3
    with pytest.raises(Refused, match="no level None"):
        await key_commands.rotate(kept.settings, KeyRequest())
