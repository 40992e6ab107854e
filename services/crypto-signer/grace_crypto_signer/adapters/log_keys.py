"""The log's keys out of a backup: back into the audit-log's state folder, or only proven to sign."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grace_common.contract.errors import Refused
from grace_common.runtime.root_seal import LEADING, LEAST, LOG_KEY_FILES, LogKeys, SealedLogKeys
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from grace_common.transparency.directory import KeyDirectory
from grace_common.transparency.merkle import EMPTY_ROOT
from grace_common.transparency.note import Note, VerifierKey

from grace_crypto_signer.adapters.sealing import read_if_there, write_private
from grace_crypto_signer.domain.root import Root


def require_listed(sealed: SealedLogKeys, directory: KeyDirectory | None) -> None:
    """Raise Refused when the key directory lists the log's keys, and the one that leads is none of them."""
    leading = VerifierKey.parse(sealed.vkeys.get(LEADING, ""))
    listed = [] if directory is None else directory.log_keys(leading.name)
    if listed and leading not in listed:
        raise Refused(f"the key directory does not list {leading}: the log's keys are those of another Grace")


def opened(sealed: SealedLogKeys, root: Root) -> LogKeys:
    """Return the keys, once each is shown to make the signatures that its vkey verifies; raises Refused."""
    keys = sealed.open(root.opening, root.signing.key_id)
    vkeys = {name: VerifierKey.parse(vkey) for name, vkey in sealed.vkeys.items()}
    for name, data in keys.files.items():
        key, vkey = _private_key(data, name), vkeys[name]
        if key.public_key().public_bytes_raw() != vkey.public_key:
            raise Refused(f"{name} in the backup is not the key that the backup names, {vkey}")
        open_checkpoint(sign_checkpoint(Checkpoint(vkey.name, 0, EMPTY_ROOT), vkey, key.sign), vkey)
    open_checkpoint(keys.checkpoint, list(vkeys.values()))
    return keys


def _private_key(data: bytes, name: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except ValueError as error:
        raise Refused(f"{name} in the backup holds no Ed25519 key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(f"{name} in the backup holds no Ed25519 key")
    return key


def restore(folder: Path, keys: LogKeys) -> None:
    """Write the keys, and what their ledger contains, into the audit-log's empty state folder; begun again it goes on.

    raises  Refused when the folder holds other keys
    """
    wanted = {LEAST: keys.checkpoint, **{name: keys.files[name] for name in LOG_KEY_FILES if name in keys.files}}
    there = present(folder)
    if any(keys.files.get(name) != (folder / name).read_bytes() for name in there):
        raise Refused(
            f"{folder} holds keys of a log already ({', '.join(there)}): they are never overwritten. Where they are of "
            "no use, because a start without the log's key made them, move them away"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in wanted.items():  # the one that leads comes last: without it nothing starts
        write_private(folder / name, data)


def present(folder: Path) -> list[str]:
    """Return which key files of a log a folder holds."""
    return [name for name in LOG_KEY_FILES if read_if_there(folder / name) is not None]


def entries(keys: LogKeys) -> int:
    """Return how many entries the log had when the backup was made."""
    return Checkpoint.parse(Note.parse(keys.checkpoint).text).size
