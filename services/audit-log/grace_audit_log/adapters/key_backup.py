"""The log's keys for the backup: sealed to the root before they leave this process."""

from contextlib import suppress
from pathlib import Path

from grace_common.contract.errors import Refused
from grace_common.runtime.root_seal import LEADING, LOG_KEY_FILES, LogKeys, SealedLogKeys
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import VerifierKey

from grace_audit_log.adapters.log_key import load


def back_up(folder: Path, origin: str, publication: Path, opening_key: bytes, root: str) -> SealedLogKeys | None:
    """Return the log's keys with the newest published checkpoint, sealed to a root; None before there is a key.

    raises  Refused when a file is readable by others or no key, or the published log is another's or absent
    """
    files, found = _read(folder), _loaded(folder, origin)
    while files != (again := _read(folder)):  # a key has taken the place of another meanwhile
        files, found = again, _loaded(folder, origin)
    if LEADING not in found:
        return None
    try:
        checkpoint = (publication / "checkpoint").read_bytes()
    except OSError as error:
        raise Refused(
            f"{publication / 'checkpoint'} cannot be read: {error.strerror}; a backup of the log's keys says how far "
            "the log is, so start the audit-log first"
        ) from error
    open_checkpoint(checkpoint, list(found.values()))
    vkeys = {name: str(key) for name, key in found.items()}
    return SealedLogKeys.seal(LogKeys(files, checkpoint), vkeys, opening_key, root)


def _read(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in LOG_KEY_FILES:
        with suppress(FileNotFoundError):
            files[name] = (folder / name).read_bytes()
    return files


def _loaded(folder: Path, origin: str) -> dict[str, VerifierKey]:
    return {name: key[0] for name in LOG_KEY_FILES if (key := load(folder / name, origin)) is not None}
