"""The signer's long-lived keys as sealed files: KEK by passphrase (scrypt), every other key by the KEK (AES-256-GCM).

Each seal has the key's purpose, id and version as associated data, so a file renamed, or put in place of another, does
not open. Nothing but the passphrase and the certificates lies in the clear; all files have mode 0600.
"""

import os
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding
from grace_common.contract.errors import Refused
from grace_common.runtime.clock import Clock

from grace_crypto_signer.domain.certificate import Authority
from grace_crypto_signer.domain.keyring import SigningKey
from grace_crypto_signer.domain.notary import OwnKeys

VERSION: Final = 1
NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2
KEK_BYTES: Final = 32
_SCRYPT: Final = {"n": 1 << 15, "r": 8, "p": 1}  # 32 MiB; OWASP password storage cheat sheet asks for 2^15 and above
_PASSPHRASE_BYTES: Final = 32


@dataclass(frozen=True)
class KeyEncryptionKey:
    """Seals and opens what is stored; `id` names it in what it sealed."""

    id: str
    _key: bytes = field(repr=False)

    def seal(self, secret: bytes, what: str) -> tuple[bytes, bytes]:
        """Return nonce and ciphertext; `what` names purpose, id and version of the secret."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce, AESGCM(self._key).encrypt(nonce, secret, self._associated(what))

    def open(self, nonce: bytes, sealed: bytes, what: str) -> bytes:
        """Return the secret; raises Refused when it was sealed as something else, by another key, or was changed."""
        try:
            return AESGCM(self._key).decrypt(nonce, sealed, self._associated(what))
        except InvalidTag as error:
            raise Refused(f"{what} does not open with the key-encryption key {self.id}") from error

    def _associated(self, what: str) -> bytes:
        return f"{what}|{self.id}".encode()


@dataclass(frozen=True)
class Vault:
    """Everything that the state folder holds, opened."""

    kek: KeyEncryptionKey
    authority: Authority
    own: OwnKeys


def create(folder: Path, passphrase_file: Path, trust_domain: str, clock: Clock) -> bool:
    """Make what is missing of the passphrase, the KEK, the CA, the notary's and the attestation's key.

    returns  whether anything was made
    raises   Refused when a key is missing that something present depends on
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = _files(folder)
    if all(file.exists() for file in (passphrase_file, *files.values())):
        return False
    kek_file, ca_file = files["kek"], files["ca"]
    if not passphrase_file.exists():
        if kek_file.exists():
            raise Refused(f"{passphrase_file} is missing, without which {kek_file} cannot be opened: restore it")
        passphrase_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(passphrase_file, secrets.token_urlsafe(_PASSPHRASE_BYTES).encode())
    if not kek_file.exists():
        sealed = [str(file) for name, file in files.items() if name not in ("kek", "ca.pem") and file.exists()]
        if sealed:
            raise Refused(f"{kek_file} is missing, without which {', '.join(sealed)} cannot be opened: restore it")
        write_private(kek_file, _seal_kek(_passphrase(passphrase_file)))
    kek = open_kek(folder, passphrase_file)
    now = clock.now().replace(microsecond=0)
    if not ca_file.exists():
        if files["ca.pem"].exists():
            raise Refused(f"{ca_file} is missing, to which {files['ca.pem']} belongs: restore it")
        write_private(ca_file, _seal_key(kek, "ca", Ed25519PrivateKey.generate(), now))
    if not files["ca.pem"].exists():
        key, since = _open_key(kek, "ca", ca_file)
        made = Authority.create(key, trust_domain, serial=clock.new_id().int, now=since)
        write_private(files["ca.pem"], made.certificate.public_bytes(Encoding.PEM))
    for purpose in ("notary", "attestation"):
        if not files[purpose].exists():
            write_private(files[purpose], _seal_key(kek, purpose, Ed25519PrivateKey.generate(), now))
    return True


def load(folder: Path, passphrase_file: Path, trust_domain: str) -> Vault:
    """Open every key; Refused says which file is missing or does not open."""
    files = _files(folder)
    kek = open_kek(folder, passphrase_file)
    ca_key, _ = _open_key(kek, "ca", files["ca"])
    notary, since = _open_key(kek, "notary", files["notary"])
    attestation, later = _open_key(kek, "attestation", files["attestation"])
    certificate = x509.load_pem_x509_certificate(_read(files["ca.pem"]))
    if certificate.public_key() != ca_key.public_key():
        raise Refused(f"{files['ca.pem']} is not the certificate of the key in {files['ca']}")
    own = OwnKeys(
        authority=SigningKey.of(ca_key),
        notary=SigningKey.of(notary),
        attestation=SigningKey.of(attestation),
        since=max(since, later),
    )
    return Vault(kek, Authority(ca_key, certificate, trust_domain), own)


def open_kek(folder: Path, passphrase_file: Path) -> KeyEncryptionKey:
    """Return the key-encryption key; Refused when file or passphrase are missing or do not fit."""
    file = _files(folder)["kek"]
    stored = _parse(file)
    try:
        key = _derive(_passphrase(passphrase_file), b64decode(stored["salt"]), stored["scrypt"])
        opened = AESGCM(key).decrypt(b64decode(stored["nonce"]), b64decode(stored["sealed"]), _kek_name(stored["id"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} is no sealed key-encryption key: {type(error).__name__}: {error}") from error
    except InvalidTag as error:
        raise Refused(f"the passphrase in {passphrase_file} does not open {file}") from error
    return KeyEncryptionKey(stored["id"], opened)


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner can read; it is complete and durable when it appears."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _files(folder: Path) -> dict[str, Path]:
    sealed = {name: folder / f"{name}.sealed.json" for name in ("kek", "ca", "notary", "attestation")}
    return sealed | {"ca.pem": folder / "ca.pem"}


def _seal_kek(passphrase: bytes) -> bytes:
    id_, salt, nonce = secrets.token_hex(8), secrets.token_bytes(16), secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(_derive(passphrase, salt, _SCRYPT)).encrypt(nonce, secrets.token_bytes(KEK_BYTES), _kek_name(id_))
    return orjson.dumps(
        {
            "version": VERSION,
            "id": id_,
            "scrypt": _SCRYPT,
            "salt": _text(salt),
            "nonce": _text(nonce),
            "sealed": _text(sealed),
        },
        option=orjson.OPT_INDENT_2,
    )


def _derive(passphrase: bytes, salt: bytes, cost: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase)


def _kek_name(id_: str) -> bytes:
    return f"grace/kek/v{VERSION}|{id_}".encode()


def _seal_key(kek: KeyEncryptionKey, purpose: str, key: Ed25519PrivateKey, made_at: datetime) -> bytes:
    id_ = SigningKey.of(key).key_id
    nonce, sealed = kek.seal(key.private_bytes_raw(), _key_name(purpose, id_))
    return orjson.dumps(
        {
            "version": VERSION,
            "purpose": purpose,
            "id": id_,
            "kek": kek.id,
            "made_at": made_at.isoformat(),
            "nonce": _text(nonce),
            "sealed": _text(sealed),
        },
        option=orjson.OPT_INDENT_2,
    )


def _open_key(kek: KeyEncryptionKey, purpose: str, file: Path) -> tuple[Ed25519PrivateKey, datetime]:
    stored = _parse(file)
    try:
        raw = kek.open(b64decode(stored["nonce"]), b64decode(stored["sealed"]), _key_name(purpose, stored["id"]))
        made_at = datetime.fromisoformat(stored["made_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} is no sealed key: {type(error).__name__}: {error}") from error
    return Ed25519PrivateKey.from_private_bytes(raw), made_at


def _key_name(purpose: str, id_: str) -> str:
    return f"grace/{purpose}-key/v{VERSION}|{id_}"


def _passphrase(file: Path) -> bytes:
    passphrase = _read(file).strip()
    if file.stat().st_mode & 0o077:
        raise Refused(f"{file} can be read by others; run `chmod 600 {file}`, and change it if somebody did")
    if not passphrase:
        raise Refused(f"{file} is empty")
    return passphrase


def _parse(file: Path) -> dict[str, Any]:
    try:
        stored = orjson.loads(_read(file))
    except orjson.JSONDecodeError as error:
        raise Refused(f"{file} is no sealed key: {error}") from error
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        raise Refused(f"{file} is no sealed key of version {VERSION}")
    return stored


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"{file} is missing; `python -m grace_crypto_signer init` makes the signer's keys") from error


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
