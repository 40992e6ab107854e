"""The signer's own keys while it runs, and the versions of the directory that list them."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from grace_common.contract.errors import Refused, Unready
from grace_common.testing.clock import FixedClock
from grace_common.transparency.directory import KeyDirectory, follow
from grace_common.transparency.note import VerifierKey
from grace_crypto_signer import commands, key_change
from grace_crypto_signer.adapters import directory_files, key_files, key_uses, root_files
from grace_crypto_signer.adapters.keystore import OWN, FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek, write_private
from grace_crypto_signer.adapters.share_files import split_root
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.settings import Settings

from .examples import TIME
from .test_backup import COST, DOMAIN, PEOPLE, settings_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path)
    key_files.create(settings.state_dir, settings.passphrase_file, DOMAIN, FixedClock(TIME))
    return settings


def keys_of(settings: Settings) -> FileKeys:
    return FileKeys(settings, LiveKek(key_files.open_kek(settings.state_dir, settings.passphrase_file), None))


def newest(settings: Settings) -> KeyDirectory:
    found = directory_files.newest(settings.state_dir)
    assert found is not None
    return found


def hand_out_the_root(settings: Settings) -> Root:
    root = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN).root
    assert root is not None
    root_files.record_split(settings.state_dir, split_root(root, PEOPLE, COST))
    return root


def test_the_first_version_lists_the_keys_and_the_next_the_log(settings: Settings) -> None:
    keys = keys_of(settings)
    assert keys.directories() == []
    assert directory_files.newest(settings.state_dir) is None

    keys.renew(TIME)
    keys.renew(TIME)
    assert [key.purpose for key in newest(settings).keys] == ["ca", "notary", "attestation", "witness"]

    settings.publication_dir.mkdir()
    log = VerifierKey("grace.local/log", bytes(range(32)))
    (settings.publication_dir / "vkey").write_text(f"{log}\n")
    keys.renew(TIME + timedelta(minutes=1))
    (settings.publication_dir / "vkey").unlink()
    keys.renew(TIME + timedelta(minutes=2))

    [listed] = newest(settings).of("log")
    assert (newest(settings).version, listed.name, listed.public_key) == (2, "grace.local/log", log.public_key)
    assert listed.not_after is None
    first, *others = keys.directories()
    assert follow(first, root_files.read_public(settings.state_dir).public_key, others) == newest(settings)


def test_own_keys_are_replaced_by_their_age_and_stay_listed_with_their_end(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    before, later = keys.own(), TIME + timedelta(days=91)

    keys.renew(TIME + timedelta(days=89))
    assert keys.own() == before
    keys.renew(later)

    after = keys.own()
    assert {after.notary.key_id, after.attestation.key_id}.isdisjoint({before.notary.key_id, before.attestation.key_id})
    assert after.authority == before.authority
    ended, current = newest(settings).of("notary")
    assert (ended.key_id, ended.not_after) == (before.notary.key_id, later.isoformat())
    assert (current.key_id, current.not_before, current.not_after) == (after.notary.key_id, later.isoformat(), None)


@pytest.mark.parametrize("days", [None, 30.0])
def test_the_witness_key_is_replaced_by_age_where_a_setting_says_so_and_the_cas_never(
    settings: Settings, days: float | None
) -> None:
    keys = keys_of(settings.model_copy(update={"witness_key_days": days, "own_key_days": 10_000.0}))
    keys.renew(TIME)
    before, ca = keys.witness(), keys.own().authority

    keys.renew(TIME + timedelta(days=29))
    assert keys.witness() == before
    keys.renew(TIME + timedelta(days=31))

    assert (keys.witness() == before) == (days is None)
    assert [key.not_after is None for key in newest(settings).of("witness")] == (
        [True] if days is None else [False, True]
    )
    assert keys.own().authority == ca


@pytest.mark.parametrize("purpose", OWN)
def test_own_keys_are_replaced_by_the_count_of_their_uses(settings: Settings, purpose: str) -> None:
    limits = {"notary": "notary_operations", "attestation": "attestation_statements", "witness": "witness_checkpoints"}
    keys = keys_of(settings.model_copy(update={limits[purpose]: 3}))
    keys.renew(TIME)
    before, _ = key_files.described(settings.state_dir, purpose)
    others = {one: key_files.described(settings.state_dir, one) for one in OWN if one != purpose}

    key_uses.add(settings.state_dir, {before: 2})
    keys.renew(TIME + timedelta(minutes=1))
    assert key_files.described(settings.state_dir, purpose)[0] == before
    key_uses.add(settings.state_dir, {before: 1})
    keys.renew(TIME + timedelta(minutes=2))
    keys.renew(TIME + timedelta(minutes=3))

    assert [key.key_id == before for key in newest(settings).of(purpose)] == [True, False]
    assert {one: key_files.described(settings.state_dir, one) for one in others} == others


async def test_a_sealed_signers_witness_goes_on_until_its_key_is_one_that_does_not_open(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    before = keys.witness()
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    passphrase = key_files.read_passphrase(settings.passphrase_file)

    changed = key_files.finish_kek(settings.state_dir, key_files.begin_kek(settings.state_dir, kek, passphrase, TIME))
    assert keys.witness() == before
    key_files.make_key(settings.state_dir, changed, "witness", TIME)

    with pytest.raises(Unready, match="the witness key was replaced by one that does not open"):
        keys.witness()


def test_a_version_is_followed_by_the_next_before_it_expires(settings: Settings) -> None:
    keys = keys_of(settings.model_copy(update={"own_key_days": 10_000.0}))
    keys.renew(TIME)
    keys.renew(TIME + timedelta(days=243))
    assert newest(settings).version == 1

    keys.renew(TIME + timedelta(days=244))

    assert newest(settings).version == 2
    newest(settings).require_current(TIME + timedelta(days=400))


def test_without_the_root_nothing_is_signed_and_people_are_told(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    root = hand_out_the_root(settings)
    keys = keys_of(settings)
    before = keys.own()

    keys.renew(TIME + timedelta(days=91))
    keys.renew(TIME + timedelta(days=91))

    assert (keys.own(), keys.directories()) == (before, [])
    assert capsys.readouterr().out.count("waits for three shares") == 1
    vault = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN)
    with pytest.raises(Refused, match="version 1 of the key directory is due, and the root exists as shares alone"):
        directory_files.renew(settings.state_dir, vault, None, None, TIME, timedelta(days=1))
    assert directory_files.renew(settings.state_dir, vault, root, None, TIME, timedelta(days=1))


def test_a_version_that_another_process_signed_meanwhile_is_never_replaced(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    vault = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN)
    due = directory_files.pending(settings.state_dir, vault, None, TIME + timedelta(days=300), timedelta(days=365))
    assert vault.root is not None
    assert due is not None
    keys.renew(TIME + timedelta(days=299))
    before = keys.directories()

    with pytest.raises(directory_files.SignedMeanwhile, match="version 2 of the key directory was signed meanwhile"):
        directory_files.sign(settings.state_dir, due, vault.root)

    late = timedelta(days=299 + 300)
    with pytest.raises(directory_files.SignedMeanwhile, match="was signed while the keys were read"):
        directory_files.renew(
            settings.state_dir, vault, vault.root, None, TIME + late, timedelta(days=365), len(before) - 1
        )

    assert keys.directories() == before
    assert not list(settings.state_dir.glob(".directory*"))


def test_a_version_that_was_changed_or_taken_away_is_noticed(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    keys.renew(TIME + timedelta(days=91))
    file = settings.state_dir / "directory-0001.json"
    whole = file.read_bytes()

    write_private(file, whole.replace(b'"sig":"', b'"sig":"A', 1))
    with pytest.raises(Refused):
        keys.renew(TIME + timedelta(days=92))
    file.unlink()
    with pytest.raises(Refused, match="has 1 versions of the key directory, and the newest is 2"):
        keys.renew(TIME + timedelta(days=92))


def publish(settings: Settings) -> None:
    """Publish the versions of the key directory as the audit-log does."""
    folder = settings.publication_dir / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(directory_files.signed_versions(settings.state_dir), 1):
        (folder / f"{number:04}.json").write_bytes(data)


def put_back(copy: Path, settings: Settings) -> FileKeys:
    """Return the keys of a folder that was replaced by an older copy of it."""
    shutil.rmtree(settings.state_dir)
    shutil.copytree(copy, settings.state_dir)
    return keys_of(settings)


@pytest.fixture
def older(settings: Settings, tmp_path: Path) -> Path:
    """A copy of the folder, of before the notary's and the attestation's key were replaced."""
    keys = keys_of(settings)
    keys.renew(TIME)
    copy = tmp_path / "copy"
    shutil.copytree(settings.state_dir, copy)
    keys.renew(TIME + timedelta(days=91))
    publish(settings)
    return copy


def test_a_key_that_has_ended_signs_no_more_when_an_older_copy_of_the_folder_is_put_back(
    settings: Settings, older: Path
) -> None:
    versions, lost = directory_files.signed_versions(settings.state_dir), keys_of(settings).own()
    keys = put_back(older, settings)
    ended, now = keys.own(), TIME + timedelta(days=92)

    keys.begin(now)
    keys.begin(now)

    assert directory_files.signed_versions(settings.state_dir)[:2] == versions
    listed = {key.key_id: key.not_after for key in newest(settings).of("notary")}
    assert listed[ended.notary.key_id] == (TIME + timedelta(days=91)).isoformat()
    assert listed[lost.notary.key_id] == now.isoformat()
    assert listed[keys.own().notary.key_id] is None
    assert (newest(settings).version, len(listed)) == (3, 3)


def test_where_the_root_is_with_people_they_are_told_and_a_command_heals_it(settings: Settings, older: Path) -> None:
    keys = put_back(older, settings)
    root = hand_out_the_root(settings)

    with pytest.raises(Refused, match=r"rotate notary --share …` and `grace keys rotate attestation"):
        keys.begin(TIME)
    now = TIME + timedelta(days=92)
    for purpose in ("notary", "attestation"):  # as the commands do
        key_files.make_key(settings.state_dir, keys._kek, purpose, now)
    vault = key_files.open_vault(settings.state_dir, keys._kek, DOMAIN)
    directory_files.renew(settings.state_dir, vault, root, None, now, timedelta(days=365))

    keys.begin(now)
    assert [key.not_after is None for key in newest(settings).of("notary")] == [False, False, True]


async def test_a_command_goes_on_from_what_the_log_has(settings: Settings, older: Path) -> None:
    put_back(older, settings)

    async with commands.changing_keys(settings, "directory"):
        assert newest(settings).version == 2


def test_an_older_copy_does_not_go_on_where_others_were_signed_since(settings: Settings, older: Path) -> None:
    keys = put_back(older, settings)
    keys.renew(TIME + timedelta(days=300))  # another second version than the published one
    (settings.publication_dir / "keys" / "0003.json").write_bytes(b"{}")

    with pytest.raises(Refused):
        keys.begin(TIME + timedelta(days=301))


def test_an_older_copy_does_not_go_on_under_a_root_that_was_replaced(settings: Settings, older: Path) -> None:
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    key_change.rotate_root(settings, kek, lambda: root_of(settings))
    publish(settings)

    with pytest.raises(Refused, match="put back a newer one"):
        put_back(older, settings).begin(TIME + timedelta(days=92))


async def test_an_empty_folder_may_be_filled_though_the_log_has_versions(settings: Settings, older: Path) -> None:
    shutil.rmtree(settings.state_dir)

    async with commands.changing_keys(settings, "keys restore"):
        shutil.copytree(older, settings.state_dir, dirs_exist_ok=True)

    assert newest(settings).version == 1


def test_a_signer_begins_whose_root_is_half_replaced_and_goes_on_with_it_later(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    vault = key_files.open_vault(settings.state_dir, kek, DOMAIN)
    new, life = root_files.prepare(settings.state_dir, kek), timedelta(days=365)
    directory_files.succeed(settings.state_dir, vault, root_of(settings), new, None, TIME, life)

    keys.begin(TIME)

    assert root_files.next_file(settings.state_dir).exists()


def test_a_ca_that_has_ended_does_not_begin(settings: Settings, older: Path) -> None:
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    key_files.prepare_ca(settings.state_dir, kek, DOMAIN, FixedClock(TIME))
    key_files.enter_ca(settings.state_dir, kek, TIME + timedelta(days=92))
    key_files.end_other_cas(settings.state_dir, kek)
    keys_of(settings).renew(TIME + timedelta(days=92))
    publish(settings)

    with pytest.raises(Refused, match=r"the CA of .* has ended"):
        put_back(older, settings).begin(TIME + timedelta(days=93))


def root_of(settings: Settings) -> Root:
    root = key_files.load(settings.state_dir, settings.passphrase_file, DOMAIN).root
    assert root is not None
    return root
