"""Sealing to the root, which three shares open and nothing else; and the log's keys as they are sealed so.

The audit-log holds the log's keys, and the crypto-signer makes the backup: what the one hands to the other, through
whoever gives the command, only the root opens. Source: RFC 9180, base mode.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from grace_common.contract.errors import Refused

LEADING: Final = "log-key.pem"
BEFORE: Final = "log-key-before.pem"
NEXT: Final = "log-key-next.pem"
LOG_KEY_FILES: Final = (BEFORE, NEXT, LEADING)
LEAST: Final = "log-key.checkpoint"  # of a log whose keys were restored: its ledger contains this one
_HPKE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_WHAT: Final = "grace/log-keys/v1"


def seal_to_root(secret: bytes, opening_key: bytes, root: str, what: str) -> bytes:
    """Return a secret sealed to a root, by the 32 bytes of its opening key's public half; `what` is bound to it.

    raises  Refused when that is no such key
    """
    try:
        return bytes(_HPKE.encrypt(secret, X25519PublicKey.from_public_bytes(opening_key), info=_info(what, root)))
    except ValueError as error:
        raise Refused(f"nothing can be sealed to the root {root}: {error}") from error


def open_with_root(sealed: bytes, opening: X25519PrivateKey, root: str, what: str) -> bytes:
    """Return what was sealed to a root; raises Refused."""
    try:
        return bytes(_HPKE.decrypt(sealed, opening, info=_info(what, root)))
    except (InvalidTag, ValueError) as error:
        raise Refused(f"{what} does not open with the root {root}") from error


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The log's keys, opened.

    files       the PEM files by name, one of `LOG_KEY_FILES` each
    checkpoint  signed note of what was published when the backup was made: no ledger without it is this log's
    """

    files: Mapping[str, bytes] = field(repr=False)
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class SealedLogKeys:
    """The log's keys in a backup.

    vkeys  of each file, by its name
    """

    vkeys: Mapping[str, str]
    sealed: bytes

    @classmethod
    def seal(cls, keys: LogKeys, vkeys: Mapping[str, str], opening_key: bytes, root: str) -> "SealedLogKeys":
        """Return keys sealed to a root; raises Refused when there is no such root."""
        content = {
            "files": {name: data.decode() for name, data in keys.files.items()},
            "checkpoint": keys.checkpoint.decode(),
        }
        return cls(vkeys, seal_to_root(orjson.dumps(content), opening_key, root, _WHAT))

    def open(self, opening: X25519PrivateKey, root: str) -> LogKeys:
        """Return the keys; raises Refused when they do not open, or hold something else."""
        try:
            content = orjson.loads(open_with_root(self.sealed, opening, root, _WHAT))
            files = {str(name): str(data).encode() for name, data in content["files"].items()}
            checkpoint = str(content["checkpoint"]).encode()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"what is sealed as the log's keys is none: {type(error).__name__}") from error
        if files.keys() != self.vkeys.keys() or not files.keys() <= set(LOG_KEY_FILES) or LEADING not in files:
            raise Refused(f"what is sealed as the log's keys are the files {', '.join(sorted(files)) or 'of none'}")
        return LogKeys(files, checkpoint)

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"vkeys": dict(self.vkeys), "sealed": b64encode(self.sealed).decode()}

    @classmethod
    def parse(cls, stored: Any) -> "SealedLogKeys":
        """Return what `as_object` made; raises Refused."""
        try:
            vkeys = {str(name): str(vkey) for name, vkey in stored["vkeys"].items()}
            return cls(vkeys, b64decode(stored["sealed"], validate=True))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"that is no backup of the log's keys: {type(error).__name__}: {error}") from error


def _info(what: str, root: str) -> bytes:
    return f"{what}|root {root}".encode()
