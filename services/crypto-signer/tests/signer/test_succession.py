"""A new root, which the one before certifies; a new witness key; and what stays of those before."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_common.transparency.directory import KeyDirectory, follow
from grace_crypto_signer import key_commands
from grace_crypto_signer.adapters import directory_files, key_files, root_files
from grace_crypto_signer.adapters.keystore import FileKeys
from grace_crypto_signer.adapters.sealing import LiveKek, write_private
from grace_crypto_signer.adapters.share_files import HeldShare, split_root
from grace_crypto_signer.domain.root import Root
from grace_crypto_signer.requests import KeyRequest
from grace_crypto_signer.settings import Settings
from pydantic import SecretStr

from .examples import TIME
from .test_backup import COST, DOMAIN, PEOPLE, settings_of

ROTATE = KeyRequest(level="root")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_of(tmp_path)
    key_files.create(made.state_dir, made.passphrase_file, DOMAIN, FixedClock())
    return made


def keys_of(settings: Settings) -> FileKeys:
    reopen = partial(key_files.open_kek, settings.state_dir, settings.passphrase_file)
    return FileKeys(settings, LiveKek(reopen(), reopen))


def root_of(settings: Settings) -> Root:
    root = root_files.load(settings.state_dir, key_files.open_kek(settings.state_dir, settings.passphrase_file))
    assert root is not None
    return root


def hand_out(settings: Settings) -> list[HeldShare]:
    split = split_root(root_of(settings), PEOPLE, COST)
    root_files.record_split(settings.state_dir, split)
    return [HeldShare(n, d, p) for (n, d), (_, p) in zip(split.files.items(), PEOPLE, strict=True)]


def with_shares(shares: list[HeldShare]) -> KeyRequest:
    held = [{"name": one.name, "content": one.data.decode(), "passphrase": one.passphrase.decode()} for one in shares]
    return KeyRequest.model_validate({"level": "root", "shares": held})


def newest(settings: Settings) -> KeyDirectory:
    found = directory_files.newest(settings.state_dir)
    assert found is not None
    return found


async def test_whoever_knows_the_old_root_follows_to_the_new_one(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    old = root_of(settings)

    answer = await key_commands.rotate(settings, ROTATE)

    new = root_of(settings)
    assert (answer["root"], answer["directory"]) == (new.signing.key_id, 2)
    assert new != old
    first, *others = keys.directories()
    assert follow(first, old.signing.public_key, others).root == new.signing.public_key
    kek = key_files.open_kek(settings.state_dir, settings.passphrase_file)
    assert key_files.kek_by_root(settings.state_dir, new).exported() == kek.exported()
    with pytest.raises(Refused):
        key_files.kek_by_root(settings.state_dir, old)
    keys.renew(TIME + timedelta(days=300))  # and the signer that runs goes on with the new one
    assert (newest(settings).version, newest(settings).root) == (3, new.signing.public_key)


async def test_a_root_that_exists_as_shares_signs_the_change_and_its_shares_open_nothing_afterwards(
    settings: Settings,
) -> None:
    keys_of(settings).renew(TIME)
    shares = hand_out(settings)
    with pytest.raises(Refused, match="bring three"):
        await key_commands.rotate(settings, ROTATE)
    assert not root_files.next_file(settings.state_dir).exists()

    await key_commands.rotate(settings, with_shares(shares[:3]))

    assert newest(settings).root == root_of(settings).signing.public_key
    public = root_files.read_public(settings.state_dir)
    assert public.splits == {}
    with pytest.raises(Refused):
        public.combine(shares[:3])
    again = hand_out(settings)
    assert root_files.read_public(settings.state_dir).combine(again[2:]).signing.public_key == newest(settings).root


@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_a_change_of_the_root_that_was_cut_short_is_finished(settings: Settings, steps: int) -> None:
    keys_of(settings).renew(TIME)
    folder, old = settings.state_dir, root_of(settings)
    kek = key_files.open_kek(folder, settings.passphrase_file)
    new = root_files.prepare(folder, kek)
    if steps > 1:
        vault = key_files.open_vault(folder, kek, DOMAIN)
        directory_files.succeed(folder, vault, old, new, None, TIME, timedelta(days=365))
        with pytest.raises(Refused, match="goes on with it"):
            newest(settings)
    if steps > 2:
        key_files.seal_kek_to(folder, kek, root_files.public_of(new, TIME))
    with pytest.raises(Refused, match="the root is being replaced"):
        await key_commands.rotate(settings, KeyRequest(level="kek"))

    answer = await key_commands.rotate(settings, ROTATE)

    assert answer["root"] == new.signing.key_id
    assert (root_of(settings), newest(settings).version) == (new, 2)
    assert not root_files.next_file(folder).exists()


@pytest.mark.parametrize("sealed", [False, True])
async def test_a_change_of_the_passphrase_that_was_cut_short_leaves_what_opens_and_is_finished(
    settings: Settings, sealed: bool
) -> None:
    folder, file = settings.state_dir, settings.passphrase_file
    kek = key_files.open_kek(folder, file)
    write_private(key_files.next_passphrase_file(file), b"the next one")
    if sealed:
        key_files.write_kek(folder, kek, b"the next one")
    assert key_files.open_kek(folder, file) == kek  # as the signer does when it starts

    await key_commands.passphrase(settings, KeyRequest())

    assert not key_files.next_passphrase_file(file).exists()
    assert key_files.kek_by_passphrase(folder, key_files.read_passphrase(file)) == kek
    write_private(key_files.next_passphrase_file(file), b"the next one")
    await key_commands.passphrase(settings, KeyRequest(new_passphrase=SecretStr("kept by people")))
    assert not [each.name for each in folder.iterdir() if "passphrase" in each.name]


async def test_a_root_that_nobody_was_told_of_is_not_replaced(settings: Settings) -> None:
    with pytest.raises(Refused, match="there is no key directory yet"):
        await key_commands.rotate(settings, ROTATE)


async def test_a_new_witness_key_is_taken_up_and_the_old_one_stays_listed_with_its_end(settings: Settings) -> None:
    keys = keys_of(settings)
    keys.renew(TIME)
    before = keys.witness()

    answer = await key_commands.rotate(settings, KeyRequest(level="witness"))

    after = keys.witness()
    assert (answer["key_id"], after != before) == (after.key_id, True)
    listed = {key.key_id: key for key in newest(settings).of("witness")}
    assert listed.keys() == {before.key_id, after.key_id}
    assert listed[before.key_id].not_after is not None
    assert listed[after.key_id].not_after is None
