"""The log's signing key: a file of mode 0600, made once."""

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from grace_common.contract.errors import Refused
from grace_common.transparency.note import VerifierKey

from grace_audit_log.domain.tree import LogIdentity


def load_or_create(file: Path, origin: str, ca_keys: Callable[[], tuple[bytes, ...]]) -> LogIdentity:
    """Return the identity of the log, whose checkpoints name the CAs; the key is made when there is no file.

    A database that a lost key has signed is noticed by the writer, which compares its newest checkpoint with the key.

    raises  Refused when the file is readable by others, or holds no Ed25519 key
    """
    if not file.exists():
        _create(file)
    if file.stat().st_mode & 0o077:
        raise Refused(f"{file} can be read by others; run `chmod 600 {file}`, and replace the key if somebody did")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except ValueError as error:
        raise Refused(f"{file} holds no Ed25519 key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{file} holds no Ed25519 key")
    public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return LogIdentity(VerifierKey(origin, public_key), key.sign, ca_keys=ca_keys)


def _create(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    material = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(material)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(draft, file)  # unlike a rename, this never replaces a key that another process made meanwhile
    except FileExistsError:
        pass
    finally:
        draft.unlink()
