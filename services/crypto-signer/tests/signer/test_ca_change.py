"""Another CA in place of the one before: every step of the change, cut short and gone on with, against PostgreSQL."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.identity import CertificateIssued
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import Authorities, Workload, key_id, subject_of
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.statement import key_id as id_of
from grace_crypto_signer import ca_change, commands, key_commands
from grace_crypto_signer.adapters import backup_file, directory_files, key_files, root_files
from grace_crypto_signer.adapters.backup_file import Backup
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek, write_private
from grace_crypto_signer.adapters.share_files import HeldShare, split_root
from grace_crypto_signer.domain.certificate import stated
from grace_crypto_signer.drill import drill
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings
from sqlalchemy import text

from .examples import private_key
from .test_backup import COST, DOMAIN, PEOPLE, settings_of

NOW = datetime.now(UTC).replace(microsecond=0)
FARM, MILL, LOST = (private_key(word).public_key() for word in ("farm", "mill", "lost"))


@dataclass
class Signer:
    """A signer with two services' identities, and three producers: one at work, one that has ended, one revoked."""

    settings: Settings
    database: Database
    before: Vault

    @property
    def folder(self) -> Path:
        return self.settings.state_dir

    @property
    def identities(self) -> Path:
        return self.folder.parent / "identities"

    @property
    def request(self) -> KeyRequest:
        return KeyRequest(level="ca", folder=self.identities)

    def vault(self) -> Vault:
        return key_files.load(self.folder, self.settings.passphrase_file, DOMAIN)

    def directory(self) -> KeyDirectory:
        found = directory_files.newest(self.folder)
        assert found is not None
        return found

    def authorities(self) -> dict[str, str]:
        return {one["key_id"]: one["state"] for one in ca_change.told(self.folder)}

    async def rotate(self) -> dict[str, object]:
        return await key_commands.rotate(self.settings, self.request)

    async def retire(self, patience_s: float = 0.0) -> dict[str, object]:
        vault = self.vault()
        assert vault.root is not None
        kek = key_files.open_kek(self.folder, self.settings.passphrase_file)
        return await ca_change.retire(self.settings, kek, vault.root, self.request, patience_s=patience_s)

    async def facts(self) -> dict[str, CertificateIssued]:
        return {fact.key_id: fact for fact in await PostgresCertificates(self.database).every()}

    async def certify(self, *facts: CertificateIssued) -> None:
        async with self.database.transaction():
            for fact in facts:
                await PostgresCertificates(self.database).keep(fact)

    async def waiting(self) -> int:
        async with self.database.reading() as connection:
            return int(await connection.scalar(text("SELECT count(*) FROM outbox")) or 0)

    async def send(self) -> None:
        """Do what a running signer does with what is stated of keys: it goes when it was sent."""
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM outbox"))


@pytest.fixture
async def signer(database: Database, database_url: str, tmp_path: Path) -> Signer:
    settings = settings_of(tmp_path, database_url)
    await commands.init(settings, {name: tmp_path / "identities" / name for name in ("crypto-signer", "gateway")})
    vault = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN)
    made = Signer(settings, database, vault)
    issue = vault.authority.issue
    farm = issue("producer/farm", FARM, serial=1, now=NOW, until=NOW + timedelta(days=300))
    mill = issue("producer/mill", MILL, serial=2, now=NOW - timedelta(days=9), until=NOW - timedelta(days=2))
    lost = issue("producer/lost", LOST, serial=3, now=NOW, until=NOW + timedelta(days=30))
    await made.certify(
        stated(farm, "producer/farm", ("requester",)),
        stated(mill, "producer/mill", ("requester",)),
        stated(lost, "producer/lost").model_copy(update={"revoked_at": NOW, "reason": "lost"}),
    )
    await made.send()
    return made


async def test_before_the_ca_is_replaced_there_is_none_to_end(signer: Signer) -> None:
    with pytest.raises(Refused, match="none before it: `grace keys rotate ca` replaces it"):
        await signer.retire()
    with pytest.raises(Refused, match="only `log` and `ca`"):
        await key_commands.retire(signer.settings, KeyRequest(level="notary"))


async def test_the_next_ca_certifies_every_key_that_the_one_before_did_and_as_it_was(signer: Signer) -> None:
    facts, old = await signer.facts(), signer.before.authority.certificate
    gateway = Workload.load(signer.identities / "gateway")

    answer = await signer.rotate()

    new, after = signer.vault().authority.certificate, await signer.facts()
    assert (answer["certificates"], len(after), new != old) == (5, 5, True)
    assert after.keys() == facts.keys()
    for id_, fact in after.items():
        certificate, before = (x509.load_der_x509_certificate(one.certificate) for one in (fact, facts[id_]))
        certificate.verify_directly_issued_by(new)
        assert fact == facts[id_].model_copy(update={"certificate": fact.certificate})
        assert subject_of(certificate, DOMAIN) == fact.subject
        assert key_id(certificate.public_key()) == id_  # type: ignore[arg-type]
        assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (fact.not_before, fact.not_after)
        assert certificate.serial_number != before.serial_number, "both CAs have one name"
        assert [one.oid for one in certificate.extensions] == [one.oid for one in before.extensions]
    assert await signer.waiting() == 5
    renewed = Workload.load(signer.identities / "gateway")
    assert renewed.key.private_bytes_raw() == gateway.key.private_bytes_raw()
    assert renewed.authorities == Authorities((new, old))
    renewed.certificate.verify_directly_issued_by(new)


async def test_what_the_ca_publishes_is_made_anew_and_the_directory_lists_both(signer: Signer) -> None:
    before, version = signer.before.own, signer.directory().version

    answer = await signer.rotate()

    own, directory = signer.vault().own, signer.directory()
    assert answer["directory"] == directory.version == version + 1
    assert len({before.authority, own.authority, before.notary, own.notary, before.attestation, own.attestation}) == 6
    assert {key.key_id for key in directory.of("ca", NOW + timedelta(hours=1))} == {
        before.authority.key_id,
        own.authority.key_id,
    }
    assert signer.authorities() == {own.authority.key_id: "certifies", before.authority.key_id: "counts"}


async def test_a_second_command_changes_nothing(signer: Signer) -> None:
    first = await signer.rotate()
    await signer.send()
    ca = (signer.folder / "ca.sealed.json").read_bytes()

    second = await signer.rotate()

    assert (first["key_id"], second["certificates"]) == (second["key_id"], 0)
    assert (signer.folder / "ca.sealed.json").read_bytes() == ca
    assert await signer.waiting() == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6])
async def test_a_change_that_was_cut_short_is_finished_by_the_same_command(signer: Signer, steps: int) -> None:
    folder, kek = signer.folder, key_files.open_kek(signer.folder, signer.settings.passphrase_file)
    bundle = (folder / "ca.pem").read_bytes()
    key_files.prepare_ca(folder, kek, DOMAIN, SystemClock())
    if steps == 1:  # the key was written, and its certificate was not
        write_private(folder / "ca.pem", bundle)
    if steps > 2:
        commands.tell_authorities(key_files.authorities(folder), signer.request.identities)
    if steps > 3:
        waiting = key_files.next_ca_file(folder).read_bytes()
        key_files.enter_ca(folder, kek, NOW)
        if steps == 4:  # it certifies, and its key was not taken from where it waited
            write_private(key_files.next_ca_file(folder), waiting)
            assert list(signer.authorities().values()) == ["certifies", "counts"]
    if steps > 5:
        await commands.certify_again(signer.vault(), signer.database, {})
    else:
        await commands.init(signer.settings, signer.request.identities)  # whoever starts Grace in between may
    certified = signer.before.own.authority if steps < 4 else signer.vault().own.authority
    assert signer.vault().own.authority == certified

    await signer.rotate()

    assert list(signer.authorities().values()) == ["certifies", "counts"]
    assert signer.before.own.authority.key_id in signer.authorities()
    new = signer.vault().authority.certificate
    for fact in (await signer.facts()).values():
        x509.load_der_x509_certificate(fact.certificate).verify_directly_issued_by(new)
    for service in ("crypto-signer", "gateway"):
        identity = Workload.load(signer.identities / service)
        identity.certificate.verify_directly_issued_by(new)
        assert identity.authorities == key_files.authorities(folder)
    assert signer.directory().of("ca")[-1].public_key == signer.vault().own.authority.public_key
    assert not key_files.next_ca_file(folder).exists()


async def test_the_ca_before_ends_and_is_named_for_ever(signer: Signer) -> None:
    await signer.rotate()
    await signer.send()

    answer = await key_commands.retire(signer.settings, signer.request)

    old, new = signer.before.own.authority, signer.vault().own.authority
    assert signer.authorities() == {new.key_id: "certifies", old.key_id: "ended"}
    assert answer["authorities"] == ca_change.told(signer.folder)
    listed = {key.key_id: key.not_after for key in signer.directory().of("ca")}
    assert (listed[new.key_id], listed[old.key_id] is not None) == (None, True)
    for service in ("crypto-signer", "gateway"):
        named = Workload.load(signer.identities / service).authorities
        assert (named.held, named.keys) == (
            (signer.vault().authority.certificate,),
            (new.public_key, old.public_key),
        )
    await signer.rotate()
    await signer.send()
    await signer.retire()
    assert list(signer.authorities().values()) == ["certifies", "ended", "ended"]
    assert await commands.certify_again(signer.vault(), signer.database, {}) == 0


async def test_what_the_old_ca_certified_in_the_meantime_is_certified_again_before_it_ends(signer: Signer) -> None:
    await signer.rotate()
    await signer.send()
    late = private_key("late").public_key()
    issued = signer.before.authority.issue("producer/late", late, serial=4, now=NOW, until=NOW + timedelta(days=3))
    await signer.certify(stated(issued, "producer/late"))

    with pytest.raises(Unready, match=r"1 certificates wait to be sent to grace.identity.v1: start the crypto-signer"):
        await signer.retire()
    assert "counts" in signer.authorities().values()
    await signer.send()
    await signer.retire()

    fact = (await signer.facts())[key_id(late)]
    x509.load_der_x509_certificate(fact.certificate).verify_directly_issued_by(signer.vault().authority.certificate)


async def test_a_retirement_that_was_cut_short_is_finished_by_the_same_command(signer: Signer) -> None:
    await signer.rotate()
    await signer.send()
    key_files.end_other_cas(signer.folder, key_files.open_kek(signer.folder, signer.settings.passphrase_file))
    assert len(Workload.load(signer.identities / "gateway").authorities.held) == 2

    await signer.retire()

    assert len(Workload.load(signer.identities / "gateway").authorities.held) == 1
    assert [key.not_after is None for key in signer.directory().of("ca")] == [False, True]


async def test_where_the_folders_are_elsewhere_the_change_waits_until_they_name_the_next_ca(signer: Signer) -> None:
    nowhere, told = KeyRequest(level="ca"), KeyRequest(level="ca", told=True)

    waits = await key_commands.rotate(signer.settings, told)  # of a CA that nobody can have heard of

    assert (waits["waits"], f"of {signer.folder}" in waits["bring"]) == (True, True)
    assert list(signer.authorities().values()) == ["next", "certifies"]
    assert signer.vault().own.authority == signer.before.own.authority
    assert (await key_commands.rotate(signer.settings, nowhere))["authorities"] == waits["authorities"]
    with pytest.raises(Refused, match="finish that first"):
        await key_commands.retire(signer.settings, told)
    assert not (await key_commands.rotate(signer.settings, told))["waits"]
    await signer.send()
    with pytest.raises(Refused, match="say so with `told`"):
        await key_commands.retire(signer.settings, nowhere)
    await key_commands.retire(signer.settings, told)
    assert list(signer.authorities().values()) == ["certifies", "ended"]


async def test_a_folder_that_cannot_be_told_is_named_and_the_next_ca_certifies_nothing(signer: Signer) -> None:
    (signer.identities / "gateway" / "ca.pem").unlink()
    (signer.identities / "gateway" / "ca.pem").mkdir()

    with pytest.raises(Refused, match=r"gateway cannot be told which CAs there are: .*give the command again"):
        await signer.rotate()
    assert list(signer.authorities().values()) == ["next", "certifies"]

    (signer.identities / "gateway" / "ca.pem").rmdir()
    await signer.rotate()
    assert list(signer.authorities().values()) == ["certifies", "counts"]


async def test_without_the_database_nothing_is_begun(signer: Signer) -> None:
    away = settings_of(signer.folder.parent)
    vault = signer.vault()
    assert vault.root is not None

    with pytest.raises(Unready, match="the database does not answer"):
        await key_commands.answer(key_commands.rotate, away, signer.request)

    assert list(signer.authorities().values()) == ["certifies"]


async def test_without_the_root_nothing_is_begun(signer: Signer) -> None:
    assert signer.before.root is not None
    root_files.record_split(signer.folder, split_root(signer.before.root, PEOPLE, COST))

    with pytest.raises(Refused, match="bring three of them"):
        await signer.rotate()

    assert list(signer.authorities().values()) == ["certifies"]


async def test_a_row_that_holds_no_certificate_is_named(signer: Signer) -> None:
    await signer.certify(CertificateIssued.example())

    with pytest.raises(Refused, match="the row of key 3f2a"):
        await signer.rotate()


async def test_the_signer_that_runs_certifies_under_the_ca_of_now(signer: Signer) -> None:
    reopen = partial(key_files.open_kek, signer.folder, signer.settings.passphrase_file)
    keys = FileKeys(signer.settings, LiveKek(reopen(), reopen))
    assert keys.authority().certificate == signer.before.authority.certificate

    await signer.rotate()

    assert keys.authority().certificate == signer.vault().authority.certificate
    assert keys.own().notary == signer.vault().own.notary


async def test_a_sealed_signer_certifies_on_until_a_ca_comes_that_it_cannot_open(signer: Signer) -> None:
    keys = FileKeys(signer.settings, LiveKek(key_files.open_kek(signer.folder, signer.settings.passphrase_file), None))
    before = keys.authority()
    await key_commands.rotate(signer.settings, KeyRequest(level="kek"))
    assert keys.authority() == before

    await signer.rotate()

    with pytest.raises(Unready, match="the ca key was replaced by one that does not open"):
        keys.authority()


async def test_while_the_ca_is_replaced_there_is_no_backup_and_no_other_kek(signer: Signer, tmp_path: Path) -> None:
    assert signer.before.root is not None
    await key_commands.rotate(signer.settings, KeyRequest(level="ca"))
    split = split_root(signer.before.root, PEOPLE, COST)
    root_files.record_split(signer.folder, split)

    for ask, request in (
        (key_commands.backup, KeyRequest(file=tmp_path / "backup.json")),
        (key_commands.rotate, KeyRequest(level="kek")),
    ):
        with pytest.raises(Refused, match="the CA is being replaced"):
            await ask(signer.settings, request)


async def test_a_backup_knows_the_cas_that_have_ended(signer: Signer, tmp_path: Path) -> None:
    root = signer.before.root
    assert root is not None
    for _ in range(2):
        await signer.rotate()
        await signer.send()
        await signer.retire()
    await signer.rotate()
    root_files.record_split(signer.folder, split := split_root(root, PEOPLE, COST))
    shares = [HeldShare(n, d, p) for (n, d), (_, p) in zip(split.files.items(), PEOPLE, strict=True)]
    await key_commands.backup(signer.settings, KeyRequest(file=tmp_path / "backup.json"))
    backup = Backup.parse((tmp_path / "backup.json").read_bytes(), "backup.json")

    backup_file.restore(backup, root, b"another", tmp_path / "elsewhere", DOMAIN, SystemClock())

    assert drill(backup, shares[:3], DOMAIN).entries == 2
    assert ca_change.told(tmp_path / "elsewhere") == ca_change.told(signer.folder)
    assert list(signer.authorities().values()) == ["certifies", "counts", "ended", "ended"]


async def test_the_status_tells_which_cas_there_are(signer: Signer) -> None:
    await signer.rotate()

    told = (await key_commands.status(signer.settings, KeyRequest()))["authorities"]

    assert told == ca_change.told(signer.folder)
    assert id_of(signer.before.own.authority.public_key) == told[1]["key_id"]
