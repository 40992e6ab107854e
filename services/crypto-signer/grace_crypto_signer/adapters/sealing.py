"""Sealing secrets: AES-256-GCM under a key, scrypt for keys out of passphrases, files that only their owner reads."""

import os
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from grace_common.contract.errors import Refused

NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_MOST_SCRYPT: Final = {"n": 1 << 20, "r": 16, "p": 16}  # a file that asks for more would only fill the memory


_seals: Final[Counter[str]] = Counter()  # by the key's id, of the whole process, until they are written down


@dataclass(frozen=True)
class KeyEncryptionKey:
    """Seals and opens what is stored; `id` names it in what it sealed. Implements `Kek` with a key in this process.

    older    keys that this one replaces, while what they sealed is being sealed anew
    made_at  None where its file does not say so
    """

    id: str
    _key: bytes = field(repr=False)
    older: tuple["KeyEncryptionKey", ...] = ()
    made_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def generate(cls, now: datetime) -> "KeyEncryptionKey":
        return cls(secrets.token_hex(8), secrets.token_bytes(KEY_BYTES), made_at=now)

    def under(self, id_: str) -> "KeyEncryptionKey | None":
        """Return this key or an older one by its id."""
        return next((key for key in (self, *self.older) if key.id == id_), None)

    def seal(self, secret: bytes, what: str) -> tuple[bytes, bytes]:
        """Return nonce and ciphertext; `what` names purpose, id and version of the secret."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        _seals[self.id] += 1
        return nonce, AESGCM(self._key).encrypt(nonce, secret, self._associated(what))

    def open(self, nonce: bytes, sealed: bytes, what: str) -> bytes:
        """Return the secret; raises Refused when it was sealed as something else, by another key, or was changed."""
        try:
            return AESGCM(self._key).decrypt(nonce, sealed, self._associated(what))
        except InvalidTag as error:
            raise Refused(f"{what} does not open with the key-encryption key {self.id}") from error

    def exported(self) -> bytes:
        """Return the key itself, to be sealed by what stands above it."""
        return self._key

    def _associated(self, what: str) -> bytes:
        return f"{what}|{self.id}".encode()


def seals_made() -> Mapping[str, int]:
    """Return how many seals each key has made in this process since this was asked last."""
    made = dict(_seals)
    _seals.clear()
    return made


class LiveKek:
    """The key-encryption key of a process that goes on while the key is changed. Implements `Kek`.

    reopen  gives the key as it is stored now; None where only people can, and then a new key stays unknown
    """

    def __init__(self, current: KeyEncryptionKey, reopen: Callable[[], KeyEncryptionKey] | None) -> None:
        self._current = current
        self._reopen = reopen

    @property
    def id(self) -> str:
        return self._current.id

    def newest(self) -> KeyEncryptionKey:
        """Return the key as it is stored now, else the one that people brought; raises Refused."""
        if self._reopen is not None:
            self._current = self._reopen()
        return self._current

    def seal(self, secret: bytes, what: str) -> tuple[bytes, bytes]:
        """Seal by the newest key that is known; whoever must not fall behind asks `under` first."""
        return self._current.seal(secret, what)

    def open(self, nonce: bytes, sealed: bytes, what: str) -> bytes:
        """Open by the newest key that is known."""
        return self._current.open(nonce, sealed, what)

    def under(self, id_: str) -> KeyEncryptionKey | None:
        """Return the key with this id, looked for anew when it is not known yet."""
        found = self._current.under(id_)
        if found is None and self._reopen is not None:
            self._current = self._reopen()
            found = self._current.under(id_)
        return found


def seal_by_passphrase(secret: bytes, passphrase: bytes, what: bytes, cost: Mapping[str, int]) -> dict[str, Any]:
    """Return the members of a JSON object that hold a secret under a passphrase; `what` is its associated data."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(_derive(passphrase, salt, cost)).encrypt(nonce, secret, what)
    return {"scrypt": dict(cost), "salt": text(salt), "nonce": text(nonce), "sealed": text(sealed)}


def open_by_passphrase(stored: Mapping[str, Any], passphrase: bytes, what: bytes) -> bytes | None:
    """Return the secret, None when the passphrase does not open it; raises Refused when the members are malformed."""
    try:
        cost = {name: int(stored["scrypt"][name]) for name in ("n", "r", "p")}
        if any(cost[name] > most for name, most in _MOST_SCRYPT.items()):
            raise Refused(f"its scrypt cost {cost} is beyond {_MOST_SCRYPT}")
        key = _derive(passphrase, octets(stored["salt"]), cost)
        return AESGCM(key).decrypt(octets(stored["nonce"]), octets(stored["sealed"]), what)
    except InvalidTag:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner can read; it is complete and durable when it appears."""
    _draft(file, data).replace(file)


def write_private_once(file: Path, data: bytes) -> bool:
    """Write such a file unless there is one, by whomever; tell whether it was written."""
    draft = _draft(file, data)
    try:
        os.link(draft, file)  # unlike a rename, this never replaces what another process wrote meanwhile
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def drafts(file: Path) -> list[Path]:
    """Return what processes have left behind that were killed before a file of theirs appeared."""
    return list(file.parent.glob(f".{file.name}.*"))


def _draft(file: Path, data: bytes) -> Path:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return draft


def read_file(file: Path) -> bytes:
    """Return a file's bytes; raises Refused, which says what makes the file, when there is none."""
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise Refused(f"{file} is missing; `python -m grace_crypto_signer init` makes the signer's keys") from error


def read_if_there(file: Path) -> bytes | None:
    """Return a file's bytes, None where there is none: it may go at any moment while others change the keys."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def pretty(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as the files have it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def parse_sealed(data: bytes, name: str, version: int) -> dict[str, Any]:
    """Return the JSON object of a sealed file; raises Refused, which calls it `name`."""
    try:
        stored = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Refused(f"{name} is no sealed key: {error}") from error
    if not isinstance(stored, dict) or stored.get("version") != version:
        raise Refused(f"{name} is no sealed key of version {version}")
    return stored


def text(data: bytes) -> str:
    """Return base64."""
    return b64encode(data).decode("ascii")


def octets(value: str) -> bytes:
    """Return the bytes of a base64 text; raises ValueError for anything else."""
    try:
        return b64decode(value, validate=True)
    except (Base64Error, TypeError) as error:
        raise ValueError(f"base64 expected: {error}") from error


def _derive(passphrase: bytes, salt: bytes, cost: Mapping[str, int]) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase)
