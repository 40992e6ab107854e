"""One Ed25519 signature over several messages of one signer: it covers their Merkle root, and each carries its path.

A signature of 64 bytes is Ed25519 over the message. A longer one is Ed25519, 64 bytes, over
`PAE("application/vnd.grace.signature-batch", root)`, then the message's index and the number of messages (u32 each,
big-endian), then its inclusion proof: the root is that of the RFC 6962 tree whose entries are the messages. Index and
number are not signed: they say how to climb, and whatever climbs to the signed root was signed.

A DSSE envelope holds either as its `sig`: to DSSE a signature is bytes whose meaning the key's scheme defines.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from grace_common.transparency import merkle
from grace_common.transparency.dsse import pae
from grace_common.transparency.ed25519 import SIGNATURE_BYTES, Sign, SignatureInvalid, verify_signature

BATCH_TYPE: Final = "application/vnd.grace.signature-batch"
_PLACE: Final = struct.Struct(">II")
_PATH_AT: Final = SIGNATURE_BYTES + _PLACE.size


def sign_batch(messages: Sequence[bytes], sign: Sign) -> list[bytes]:
    """Return the signature of each of n ≥ 1 messages, all made by one use of the key; one alone is signed plainly."""
    if len(messages) == 1:
        return [sign(messages[0])]
    root, paths = merkle.root_and_paths(merkle.leaf_hashes(messages))
    signature, size = sign(pae(BATCH_TYPE, root)), len(messages)
    return [signature + _PLACE.pack(index, size) + path for index, path in enumerate(paths)]


def verify_batched(public_key: bytes, signature: bytes, message: bytes, what: str) -> None:
    """Return if the key made this signature over this message, alone or with others; raises SignatureInvalid.

    what  is named in the error
    """
    if len(signature) <= SIGNATURE_BYTES:
        verify_signature(public_key, signature, message, what)
        return
    path = signature[_PATH_AT:]
    if len(signature) < _PATH_AT or len(path) % merkle.HASH_BYTES:
        raise SignatureInvalid(f"the signature on {what} has {len(signature)} bytes: neither 64 nor a place and hashes")
    index, size = _PLACE.unpack_from(signature, SIGNATURE_BYTES)
    if size < 2:  # it would be another spelling of a plain signature
        raise SignatureInvalid(f"the signature on {what} says that it was made over a batch of {size}")
    hashes = [path[start : start + merkle.HASH_BYTES] for start in range(0, len(path), merkle.HASH_BYTES)]
    try:
        root = merkle.climb(merkle.leaf_hash(message), index, size, hashes)
    except merkle.ProofInvalid as error:
        raise SignatureInvalid(f"the signature on {what} does not lead to a root: {error}") from error
    _verify_root(public_key, signature[:SIGNATURE_BYTES], root, what)


def _verify_root(public_key: bytes, signature: bytes, root: bytes, what: str) -> None:
    try:
        _verified_root(public_key, signature, root)
    except SignatureInvalid as error:
        raise SignatureInvalid(f"the signature on {what} is not by the key it names") from error


@lru_cache(maxsize=4096)  # what is not verified raises and is not kept
def _verified_root(public_key: bytes, signature: bytes, root: bytes) -> None:
    verify_signature(public_key, signature, pae(BATCH_TYPE, root), "the batch")
