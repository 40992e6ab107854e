"""The root, its key pairs, and what the state folder says of it."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_crypto_signer.adapters import key_files, root_files
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey, pretty, write_private
from grace_crypto_signer.adapters.share_files import HeldShare, split_root
from grace_crypto_signer.domain.root import Root

from .examples import TIME

DOMAIN = "grace.local"
KEK = KeyEncryptionKey("kek-1", bytes(range(32)))
PEOPLE = [("ada", b"one"), ("grace", b"two"), ("olga", b"three")]
COST = {"n": 1 << 10, "r": 8, "p": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key_files.create(tmp_path, tmp_path / "kek-passphrase", DOMAIN, FixedClock())
    return tmp_path


def kek(folder: Path) -> KeyEncryptionKey:
    return key_files.open_kek(folder, folder / "kek-passphrase")


def test_the_two_key_pairs_derive_from_the_secret_and_differ() -> None:
    one, other = Root(sha256(b"one").digest()), Root(sha256(b"other").digest())

    assert one.signing == Root(sha256(b"one").digest()).signing
    assert one.signing != other.signing
    assert one.opening.public_key().public_bytes_raw() != one.signing.public_key
    Ed25519PublicKey.from_public_bytes(one.signing.public_key).verify(one.signing.sign(b"list"), b"list")
    with pytest.raises(Refused, match="31 bytes"):
        Root(bytes(31))


def test_a_root_is_made_at_the_first_start_and_kept_until_it_is_split(folder: Path) -> None:
    public, root = root_files.read_public(folder), root_files.load(folder, kek(folder))
    assert root is not None
    assert (root.signing.public_key, public.splits) == (public.public_key, {})

    split = split_root(root, PEOPLE, COST)
    known = root_files.record_split(folder, split)

    assert root_files.load(folder, kek(folder)) is None
    assert root_files.read_public(folder) == known
    held = [HeldShare(name, split.files[name], people[1]) for name, people in zip(split.files, PEOPLE, strict=True)]
    assert known.combine(held) == root


def test_a_root_that_a_killed_process_left_half_written_goes_with_the_root(folder: Path) -> None:
    root = root_files.load(folder, kek(folder))
    assert root is not None
    left = folder / ".root.sealed.json.4711"  # complete, and killed before it took the place of the file
    left.write_bytes(root_files.sealed_file(folder).read_bytes())

    root_files.record_split(folder, split_root(root, PEOPLE, COST))

    assert not [file.name for file in folder.iterdir() if file.name.lstrip(".").startswith("root.sealed")]


def test_the_root_opens_the_key_encryption_key_without_its_passphrase(folder: Path) -> None:
    expected = kek(folder)
    root = root_files.load(folder, expected)
    (folder / "kek-passphrase").unlink()

    assert root is not None
    assert key_files.kek_by_root(folder, root) == expected
    assert key_files.open_vault(folder, key_files.kek_by_root(folder, root), DOMAIN).root == root
    with pytest.raises(Refused, match="does not open with the root"):
        key_files.kek_by_root(folder, Root(bytes(32)))


def test_a_folder_from_before_there_was_a_root_gets_one(folder: Path) -> None:
    before = key_files.load(folder, folder / "kek-passphrase", DOMAIN)
    for file in (root_files.public_file(folder), root_files.sealed_file(folder)):
        file.unlink()
    stored = orjson.loads((folder / "kek.sealed.json").read_bytes())
    write_private(folder / "kek.sealed.json", pretty({n: v for n, v in stored.items() if not n.endswith("root")}))
    with pytest.raises(Refused, match=r"root\.json is missing"):
        key_files.kek_by_root(folder, Root(bytes(32)))

    assert key_files.create(folder, folder / "kek-passphrase", DOMAIN, FixedClock())

    vault = key_files.load(folder, folder / "kek-passphrase", DOMAIN)
    assert vault.own == before.own
    assert vault.root is not None
    assert key_files.kek_by_root(folder, vault.root) == vault.kek


def test_a_first_start_that_was_cut_short_is_made_whole(folder: Path) -> None:
    stored = orjson.loads((folder / "kek.sealed.json").read_bytes())
    whole = {name: value for name, value in stored.items() if name not in ("root", "sealed_to_root")}
    write_private(folder / "kek.sealed.json", pretty(whole))
    before = root_files.read_public(folder)

    with pytest.raises(Refused, match="the passphrase of the key-encryption key is needed"):
        key_files.complete(folder, kek(folder), DOMAIN, FixedClock(), None)
    assert key_files.create(folder, folder / "kek-passphrase", DOMAIN, FixedClock())

    assert root_files.read_public(folder) == before
    root = root_files.load(folder, kek(folder))
    assert root is not None
    assert key_files.kek_by_root(folder, root) == kek(folder)


def test_a_change_of_the_key_encryption_key_can_stop_anywhere(folder: Path) -> None:
    before = key_files.load(folder, folder / "kek-passphrase", DOMAIN)
    passphrase = key_files.read_passphrase(folder / "kek-passphrase")

    begun = key_files.begin_kek(folder, before.kek, passphrase, TIME)
    stopped = key_files.load(folder, folder / "kek-passphrase", DOMAIN)
    assert stopped.kek == begun
    assert stopped.own == before.own
    assert begun.under(before.kek.id) == before.kek
    with pytest.raises(Refused, match="finish it first"):
        key_files.begin_kek(folder, stopped.kek, passphrase, TIME)

    finished = key_files.finish_kek(folder, stopped.kek)
    after = key_files.load(folder, folder / "kek-passphrase", DOMAIN)
    assert (after.kek, after.own, after.root) == (finished, before.own, before.root)
    assert finished.under(before.kek.id) is None
    with pytest.raises(Refused, match="sealed under the key-encryption key"):
        key_files.open_vault(folder, before.kek, DOMAIN)
    with pytest.raises(Refused, match="sealed under the key-encryption key"):
        root_files.load(folder, before.kek)


def test_a_change_that_came_no_further_than_its_first_file_is_forgotten(folder: Path) -> None:
    before = kek(folder)
    untouched = (folder / "kek.sealed.json").read_bytes()
    key_files.begin_kek(folder, before, b"x", TIME)
    write_private(folder / "kek.sealed.json", untouched)

    assert kek(folder) == before


def test_what_is_sealed_to_the_root_opens_under_its_name_alone() -> None:
    root = Root(sha256(b"one").digest())
    public = root_files.PublicRoot(root.signing.public_key, root.opening.public_key().public_bytes_raw(), TIME, {})
    sealed = public.seal(b"secret", "kek 1")

    assert public.open(root, sealed, "kek 1") == b"secret"
    for other, data, name in (
        (root, sealed, "kek 2"),
        (Root(bytes(32)), sealed, "kek 1"),
        (root, sealed[:-1], "kek 1"),
    ):
        with pytest.raises(Refused, match="does not open with the root"):
            public.open(other, data, name)


@pytest.mark.parametrize(
    "change", [{"id": "00" * 16}, {"public_key": "?"}, {"opening_key": ""}, {"splits": [{}]}, {"made_at": "now"}]
)
def test_a_damaged_description_of_the_root_is_refused(folder: Path, change: dict[str, object]) -> None:
    stored = orjson.loads(root_files.public_file(folder).read_bytes()) | change
    write_private(root_files.public_file(folder), pretty(stored))

    with pytest.raises(Refused, match=r"root\.json"):
        root_files.read_public(folder)


@pytest.mark.parametrize("change", [{"nonce": "?"}, {"kek": "other"}, {"id": "other"}, {"sealed": None}])
def test_a_damaged_root_is_refused(folder: Path, change: dict[str, object]) -> None:
    stored = orjson.loads(root_files.sealed_file(folder).read_bytes()) | change
    write_private(root_files.sealed_file(folder), pretty(stored))

    with pytest.raises(Refused, match=r"root"):
        root_files.load(folder, kek(folder))


def test_a_key_encryption_key_says_nothing_of_itself() -> None:
    made = KeyEncryptionKey.generate(TIME)

    assert made.exported().hex() not in repr(replace(made, older=(KEK,)))
    assert KEK.exported().hex() not in repr(replace(made, older=(KEK,)))
