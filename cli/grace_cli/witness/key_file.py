"""A witness's key: one line in a file of mode 0600, `PRIVATE+KEY+<name>+<key id>+<base64(04 ‖ seed)>`.

The form is that of golang.org/x/mod/sumdb/note with the type of a cosignature, so that the name goes with the key.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grace_common.contract.errors import Refused
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.note import SignatureType, VerifierKey
from grace_common.transparency.strict import Malformed, decode_base64, encode_base64

_PREFIX: Final = "PRIVATE+KEY+"
_SEED_BYTES: Final = 32


def make(file: Path, name: str) -> VerifierKey:
    """Make a key and write it; return its public half. Raises Refused when the file exists, OSError, Malformed."""
    private = Ed25519PrivateKey.generate()
    key = VerifierKey(name, private.public_key().public_bytes_raw(), SignatureType.COSIGNATURE)
    material = encode_base64(bytes([key.type]) + private.private_bytes_raw())
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refused(f"{file} exists: a witness keeps its key; name another file for another witness") from error
    with os.fdopen(descriptor, "w") as out:
        out.write(f"{_PREFIX}{name}+{key.key_id.hex()}+{material}\n")
        out.flush()
        os.fsync(out.fileno())
    return key


def load(file: Path) -> tuple[VerifierKey, Sign]:
    """Return a witness's public key and what signs with the private one.

    raises  Refused when others can read the file, Malformed when it holds no such key, OSError
    """
    if file.stat().st_mode & 0o077:
        raise Refused(f"{file} can be read by others; run `chmod 600 {file}`, and replace the key if somebody did")
    line = file.read_text("utf-8", "replace").strip()
    parts = line.removeprefix(_PREFIX).split("+", 2)
    if not line.startswith(_PREFIX) or len(parts) != 3:
        raise Malformed(f"{file} holds no key of the form {_PREFIX}name+key id+key")  # and is not quoted: it is secret
    name, key_id, encoded = parts
    try:
        material = decode_base64(encoded, "the key", 1 + _SEED_BYTES)
    except Malformed as error:
        raise Malformed(f"{file}: {error}") from None
    private = Ed25519PrivateKey.from_private_bytes(material[1:])
    key = VerifierKey(name, private.public_key().public_bytes_raw(), SignatureType.COSIGNATURE)
    if material[0] != SignatureType.COSIGNATURE or key_id != key.key_id.hex():
        raise Malformed(f"{file} holds a key of another type than 04, or with the id of another key")
    return key, private.sign
