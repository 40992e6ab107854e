"""The sealed files: made once, opened by the passphrase alone, and of no use in another place."""

from pathlib import Path

import orjson
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from grace_common.contract.errors import Refused
from grace_common.testing.clock import FixedClock
from grace_crypto_signer.adapters import key_files, sealing
from grace_crypto_signer.adapters.key_files import Vault
from grace_crypto_signer.adapters.sealing import KeyEncryptionKey

DOMAIN = "grace.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert key_files.create(tmp_path / "state", tmp_path / "state/kek-passphrase", DOMAIN, FixedClock())
    return tmp_path / "state"


def load(folder: Path) -> Vault:
    return key_files.load(folder, folder / "kek-passphrase", DOMAIN)


def create(folder: Path) -> bool:
    return key_files.create(folder, folder / "kek-passphrase", DOMAIN, FixedClock())


def test_keys_are_made_once(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    assert not create(folder)

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    vault = load(folder)
    assert len({vault.own.authority.key_id, vault.own.notary.key_id, vault.own.attestation.key_id}) == 3
    vault.authority.certificate.verify_directly_issued_by(vault.authority.certificate)


def test_only_the_owner_can_read_the_files_and_none_shows_a_key(folder: Path) -> None:
    vault = load(folder)
    raw = vault.authority.key.private_bytes_raw()
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
        assert raw not in file.read_bytes()
        assert raw.hex().encode() not in file.read_bytes()
    assert raw.hex() not in repr(vault)
    assert repr(raw)[2:-1] not in repr(vault)


@pytest.mark.parametrize("lost", ["kek-passphrase", "kek.sealed.json", "ca.sealed.json"])
def test_a_lost_key_that_others_depend_on_is_not_replaced_silently(folder: Path, lost: str) -> None:
    (folder / lost).unlink()

    with pytest.raises(Refused, match=rf"{lost} is missing.*restore it"):
        create(folder)
    with pytest.raises(Refused, match=f"{lost} is missing"):
        load(folder)


def test_what_can_be_made_again_is_made_again(folder: Path) -> None:
    before = load(folder)
    (folder / "ca.pem").unlink()

    assert create(folder)

    assert load(folder).own == before.own
    load(folder).authority.certificate.verify_directly_issued_by(before.authority.certificate)


def test_another_passphrase_does_not_open_the_keys(folder: Path) -> None:
    sealing.write_private(folder / "kek-passphrase", b"another")

    with pytest.raises(Refused, match="does not open"):
        load(folder)


@pytest.mark.parametrize("passphrase", [b"", b"  \n"])
def test_an_empty_passphrase_is_refused(folder: Path, passphrase: bytes) -> None:
    sealing.write_private(folder / "kek-passphrase", passphrase)

    with pytest.raises(Refused, match="is empty"):
        load(folder)


def test_a_passphrase_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "kek-passphrase").chmod(0o644)

    with pytest.raises(Refused, match="chmod 600"):
        load(folder)


def test_a_file_put_in_place_of_another_does_not_open(folder: Path) -> None:
    (folder / "notary.sealed.json").write_bytes((folder / "attestation.sealed.json").read_bytes())

    with pytest.raises(Refused, match="does not open"):
        load(folder)


def test_the_certificate_of_another_ca_is_noticed(folder: Path, tmp_path: Path) -> None:
    create(tmp_path / "other")
    (folder / "ca.pem").write_bytes((tmp_path / "other/ca.pem").read_bytes())

    with pytest.raises(Refused, match="is not the certificate"):
        load(folder)


@pytest.mark.parametrize("file", ["kek.sealed.json", "ca.sealed.json"])
@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"version": 2}', b'{"version": 1}'])
def test_a_damaged_file_is_refused_by_name(folder: Path, file: str, content: bytes) -> None:
    sealing.write_private(folder / file, content)

    with pytest.raises(Refused, match=file):
        load(folder)


@pytest.mark.parametrize("member", ["nonce", "sealed", "id", "salt"])
def test_any_change_of_a_sealed_key_is_noticed(folder: Path, member: str) -> None:
    stored = orjson.loads((folder / "kek.sealed.json").read_bytes())
    changed = stored[member]
    stored[member] = ("B" if changed[0] == "A" else "A") + changed[1:]
    sealing.write_private(folder / "kek.sealed.json", orjson.dumps(stored))

    with pytest.raises(Refused, match="does not open"):
        load(folder)


def test_what_a_key_sealed_opens_under_its_name_and_version_alone() -> None:
    kek = KeyEncryptionKey("one", bytes(range(32)))
    nonce, sealed = kek.seal(b"secret", "seed 1")

    assert kek.open(nonce, sealed, "seed 1") == b"secret"
    for other, name in ((kek, "seed 2"), (KeyEncryptionKey("two", bytes(range(32))), "seed 1")):
        with pytest.raises(Refused, match="does not open"):
            other.open(nonce, sealed, name)


def test_the_seal_is_aes_256_gcm_as_nist_has_it() -> None:
    # The GCM specification (McGrew, Viega), test case 16, AES-256 with associated data.
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
        "b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
        "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
    )
    associated = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")

    assert AESGCM(key).encrypt(nonce, plain, associated) == sealed
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(nonce, sealed, b"")


def test_the_passphrase_is_stretched_with_scrypt_as_rfc_7914_has_it() -> None:
    derived = Scrypt(salt=b"NaCl", length=64, n=1024, r=8, p=16).derive(b"password")

    assert derived.hex() == (
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
