"""The running signer replaces what is due by the code of the commands, against PostgreSQL and files."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from grace_common.contract.errors import Refused
from grace_common.runtime.clock import SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.identity import Workload, key_id
from grace_common.testing.clock import FixedClock
from grace_crypto_signer import ca_change, commands, key_commands
from grace_crypto_signer.adapters import directory_files, key_files, key_uses, root_files
from grace_crypto_signer.adapters.certificate_store import PostgresCertificates
from grace_crypto_signer.adapters.epoch_store import PostgresEpochs
from grace_crypto_signer.adapters.key_uses import KeyUses
from grace_crypto_signer.adapters.sealing import LiveKek
from grace_crypto_signer.adapters.share_files import split_root
from grace_crypto_signer.adapters.state_lock import changing
from grace_crypto_signer.domain.keyring import Level
from grace_crypto_signer.handlers.rotating import Rotating
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.rotation import FileRotation, used
from grace_crypto_signer.settings import Settings
from sqlalchemy import text

from .test_backup import COST, DOMAIN, PEOPLE, settings_of

DAY = timedelta(days=1)


@dataclass
class Scene:
    """A signer with two services' identities, and the part of it that replaces keys."""

    settings: Settings
    database: Database
    clock: FixedClock = field(default_factory=lambda: FixedClock(datetime.now(UTC)))

    def __post_init__(self) -> None:
        self.start()

    def start(self, **changes: Any) -> None:
        """Begin anew, as after a crash, and with other settings."""
        self.settings = self.settings.model_copy(update=changes)
        reopen = partial(key_files.open_kek, self.folder, self.settings.passphrase_file)
        self.kek = LiveKek(reopen(), None if self.settings.sealed else reopen)
        issue = partial(commands.issue, self.settings)  # here, and not in a process of its own
        self.rotation = FileRotation(self.settings, self.kek, issue)
        self.rotating = Rotating(self.rotation, KeyUses(self.folder), self.clock, self.settings.policy, every_s=9)

    @property
    def folder(self) -> Path:
        return self.settings.state_dir

    @property
    def identities(self) -> Path:
        return self.folder.parent / "identities"

    async def look(self, after: timedelta = timedelta()) -> None:
        """Look at a time from now on; what is made then is made now."""
        self.clock.time = datetime.now(UTC) + after
        await self.rotating.look()

    def ids(self) -> dict[str, str]:
        public = root_files.read_public(self.folder)
        return {level: key_files.described(self.folder, level)[0] for level in ("kek", *key_files.PURPOSES)} | {
            "root": public.id
        }

    def cas(self) -> list[str]:
        return [one["state"] for one in ca_change.told(self.folder)]

    def workload(self, service: str) -> Workload:
        return Workload.load(self.identities / service)

    async def send(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM outbox"))

    async def seeds(self) -> list[bytes]:
        kek = key_files.open_kek(self.folder, self.settings.passphrase_file)
        keyring = await PostgresEpochs(self.database, kek).load()
        return [epoch.seed for epoch in keyring.epochs]

    async def holds_together(self) -> None:
        """Everything opens under the newest keys, and every service is certified by a CA that counts."""
        vault = key_files.load(self.folder, self.settings.passphrase_file, DOMAIN)
        assert directory_files.newest(self.folder) is not None
        assert not key_files.kek_is_changing(self.folder)
        assert not key_files.next_ca_file(self.folder).exists()
        kek = key_files.open_kek(self.folder, self.settings.passphrase_file)
        assert kek.older == ()
        assert {one.kek_id for one in await PostgresEpochs(self.database, kek).sealed()} == {kek.id}
        for service in ("crypto-signer", "gateway"):
            known = self.workload(service)
            assert known.authorities == vault.authorities
            known.certificate.verify_directly_issued_by(vault.authority.certificate)
        for fact in await PostgresCertificates(self.database).every():
            x509.load_der_x509_certificate(fact.certificate).verify_directly_issued_by(vault.authority.certificate)


@pytest.fixture
async def scene(database: Database, database_url: str, tmp_path: Path) -> Scene:
    settings = settings_of(tmp_path, database_url).model_copy(update={"identities_dir": tmp_path / "identities"})
    await commands.init(settings, {name: tmp_path / "identities" / name for name in ("crypto-signer", "gateway")})
    made = Scene(settings, database)
    await made.send()
    return made


def hand_out_the_root(scene: Scene) -> None:
    root = key_files.load(scene.folder, scene.settings.passphrase_file, DOMAIN).root
    assert root is not None
    root_files.record_split(scene.folder, split_root(root, PEOPLE, COST))


@pytest.mark.parametrize("by", ["age", "count"])
async def test_the_kek_is_replaced_by_age_and_by_count_of_its_seals(scene: Scene, by: str) -> None:
    before, seeds = scene.ids(), await scene.seeds()
    await scene.look()
    assert scene.ids() == before

    if by == "count":
        key_uses.add(scene.folder, {before["kek"]: scene.settings.kek_seals})
    scene.start(kek_days=10.0)
    await scene.look(10 * DAY if by == "age" else timedelta())
    await scene.look()

    after = scene.ids()
    assert {level for level in before if after[level] != before[level]} == {"kek"}
    assert await scene.seeds() == seeds
    assert await PostgresEpochs(scene.database, scene.kek).rotate(datetime.now(UTC))  # the process that runs goes on
    await scene.holds_together()


async def test_a_kek_whose_passphrase_people_keep_is_theirs_to_replace(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.start(sealed=True, kek_days=10.0)
    before = scene.ids()

    await scene.look(10 * DAY)

    assert scene.ids() == before
    assert "grace keys rotate kek" in capsys.readouterr().out
    told = await key_commands.status(scene.settings.model_copy(update={"kek_days": 0.000001}), KeyRequest())
    assert (told["keys"]["kek"]["due"], told["keys"]["kek"]["command"]) == ("age", "grace keys rotate kek")


@pytest.mark.parametrize("seeds_are_sealed_anew", [False, True])
async def test_a_change_of_the_kek_that_was_cut_short_is_finished_at_the_next_look(
    scene: Scene, seeds_are_sealed_anew: bool
) -> None:
    seeds, passphrase = await scene.seeds(), key_files.read_passphrase(scene.settings.passphrase_file)
    kek = key_files.begin_kek(
        scene.folder, key_files.open_kek(scene.folder, scene.settings.passphrase_file), passphrase, datetime.now(UTC)
    )
    if seeds_are_sealed_anew:
        await PostgresEpochs(scene.database, kek).reseal()
    scene.start()

    await scene.look()

    assert (scene.ids()["kek"], await scene.seeds()) == (kek.id, seeds)
    await scene.holds_together()


@pytest.mark.parametrize("by", ["age", "count"])
async def test_the_ca_is_replaced_and_the_one_before_ends_after_the_overlap(scene: Scene, by: str) -> None:
    before = scene.ids()
    keys = {name: key_id(scene.workload(name).key.public_key()) for name in ("crypto-signer", "gateway")}
    await scene.look()
    assert scene.ids() == before
    scene.start(ca_days=10.0, ca_certificates=3)
    await scene.look(9 * DAY)
    assert (scene.ids(), used(scene.settings)["ca"].times) == (before, 2)

    if by == "count":
        key_uses.add(scene.folder, {before["ca"]: 1})
    await scene.look(10 * DAY if by == "age" else timedelta())
    await scene.send()

    after = scene.ids()
    assert {level for level in before if after[level] != before[level]} == {"ca", "notary", "attestation"}
    assert scene.cas() == ["certifies", "counts"]
    await scene.holds_together()
    await scene.look(timedelta(hours=23))
    assert scene.cas() == ["certifies", "counts"]
    await scene.look(timedelta(hours=25))
    await scene.look()
    assert (scene.cas(), scene.ids()) == (["certifies", "ended"], after)
    assert keys == {name: key_id(scene.workload(name).key.public_key()) for name in keys}
    await scene.holds_together()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_a_change_of_the_ca_that_was_cut_short_is_finished_at_the_next_look(scene: Scene, steps: int) -> None:
    kek = key_files.open_kek(scene.folder, scene.settings.passphrase_file)
    if steps < 4:
        key_files.prepare_ca(scene.folder, kek, DOMAIN, SystemClock())
    if steps > 1:
        commands.tell_authorities(key_files.authorities(scene.folder), KeyRequest(folder=scene.identities).identities)
    if steps == 3:
        key_files.enter_ca(scene.folder, kek, datetime.now(UTC).replace(microsecond=0))
    if steps == 4:  # it was ended in the signer's own folder alone
        await key_commands.rotate(scene.settings, KeyRequest(level="ca", folder=scene.identities))
        key_files.end_other_cas(scene.folder, kek)
        assert len(scene.workload("gateway").authorities.held) == 2
    scene.start()

    await scene.look()
    after = scene.ids()
    await scene.look()
    await scene.send()

    assert scene.cas() == ["certifies", "counts" if steps < 4 else "ended"]
    assert scene.ids() == after
    await scene.holds_together()


async def test_a_ca_whose_certificates_do_not_reach_the_bus_does_not_end(scene: Scene) -> None:
    await scene.look()
    await scene.send()
    await FileRotation(scene.settings, scene.kek, partial(commands.issue, scene.settings)).replace(
        "ca", datetime.now(UTC)
    )

    scene.start(ca_overlap_days=0.0)
    await scene.look()
    assert scene.cas() == ["certifies", "counts"]
    await scene.send()
    await scene.look()

    assert scene.cas() == ["certifies", "ended"]


@pytest.mark.parametrize("away", ["the folders", "the root"])
async def test_a_ca_that_people_are_needed_for_is_left_to_them(
    scene: Scene, away: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = scene.ids()
    if away == "the root":
        hand_out_the_root(scene)
    scene.start(ca_days=10.0, **({"identities_dir": None} if away == "the folders" else {}))

    await scene.look(10 * DAY)

    assert scene.ids() == before
    assert "grace keys rotate ca" in capsys.readouterr().out


async def test_a_change_that_people_began_where_the_folders_are_elsewhere_waits_for_them(scene: Scene) -> None:
    scene.start(identities_dir=None)
    await key_commands.rotate(scene.settings, KeyRequest(level="ca"))

    await scene.look()

    assert scene.cas() == ["next", "certifies"]


@pytest.mark.parametrize("limit", [{"root_days": 5.0}, {"root_directories": 2}])
async def test_a_root_that_is_kept_here_is_replaced_where_a_setting_says_so(
    scene: Scene, limit: dict[str, Any]
) -> None:
    before = scene.ids()["root"]
    await scene.look(19 * DAY)
    assert (scene.ids()["root"], used(scene.settings)["root"].times) == (before, 1)
    scene.start(**limit)
    await scene.look(4 * DAY)
    assert scene.ids()["root"] == before
    if "root_directories" in limit:
        await key_commands.rotate(scene.settings, KeyRequest(level="notary"))

    await scene.look(5 * DAY if "root_days" in limit else timedelta())
    after = scene.ids()["root"]
    await scene.look()

    assert after != before
    assert scene.ids()["root"] == after
    await scene.holds_together()


async def test_a_change_of_the_root_that_was_cut_short_is_finished_at_the_next_look(scene: Scene) -> None:
    kek = key_files.open_kek(scene.folder, scene.settings.passphrase_file)
    new = root_files.prepare(scene.folder, kek)
    scene.start()

    await scene.look()

    assert scene.ids()["root"] == new.signing.key_id
    await scene.holds_together()


async def test_services_whose_certificates_end_soon_or_whose_keys_sealed_enough_get_others(scene: Scene) -> None:
    def keys() -> dict[str, str]:
        return {name: key_id(scene.workload(name).key.public_key()) for name in ("crypto-signer", "gateway")}

    first = keys()
    await scene.look(19 * DAY)
    assert keys() == first
    scene.start(workload_records=100)
    key_uses.add(scene.folder, {first["gateway"]: 100, first["crypto-signer"]: 99})

    await scene.look()
    second = keys()
    assert (second["gateway"] != first["gateway"], second["crypto-signer"]) == (True, first["crypto-signer"])
    await scene.look(21 * DAY)

    assert set(keys().values()).isdisjoint({*first.values(), *second.values()})
    await scene.holds_together()


async def test_while_a_command_changes_the_keys_nothing_is_replaced_and_afterwards_it_is(scene: Scene) -> None:
    scene.start(kek_days=10.0)
    before = scene.ids()
    with changing(scene.folder, "keys rotate notary"):
        await scene.look(10 * DAY)
        assert scene.ids() == before

    await scene.look(10 * DAY)

    assert scene.ids()["kek"] != before["kek"]


async def test_seals_and_certificates_are_counted_and_survive_a_restart(scene: Scene) -> None:
    ids = scene.ids()
    first = used(scene.settings)
    assert first["ca"].times == 2
    assert first["kek"].times == 6  # four keys, the root, the first seed
    await PostgresEpochs(scene.database, scene.kek).rotate(datetime.now(UTC))

    await scene.look()
    scene.start()
    await scene.look()

    assert used(scene.settings)["kek"].times == 7
    await key_commands.rotate(scene.settings, KeyRequest(level="witness"))
    assert Counter(key_uses.read(scene.folder))[ids["kek"]] == 8
    levels: list[Level] = ["witness", "root"]
    assert [used(scene.settings)[level].times for level in levels] == [0, 2]


async def test_a_file_of_uses_that_is_damaged_is_named(scene: Scene) -> None:
    key_uses.file(scene.folder).write_text("{}")

    with pytest.raises(Refused, match=r"uses.json is no sealed key of version 1"):
        used(scene.settings)
