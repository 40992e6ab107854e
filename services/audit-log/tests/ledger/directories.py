"""Versions of the key directory as the crypto-signer signs them."""

from collections.abc import Sequence

from grace_common.testing.ledger import EXPIRY, TIME, SeededKey
from grace_common.transparency.directory import DirectoryKey, KeyDirectory, digest_of, sign_directory
from grace_common.transparency.note import VerifierKey

ROOT = SeededKey("root")
LATER = "2026-11-23T00:00:00Z"


def version(
    before: Sequence[bytes],
    *in_use: VerifierKey,
    ended: Sequence[VerifierKey] = (),
    signers: Sequence[DirectoryKey] = (),
    since: str = TIME,
    root: SeededKey = ROOT,
) -> bytes:
    """Return the version that follows `before`; the log's keys that ended are listed before those in use.

    signers  other keys, as they are to be listed
    since    when the newest of the log's was listed; the others were at TIME
    """
    listed = [DirectoryKey("log", key.public_key, TIME, LATER, key.name) for key in ended]
    listed += [DirectoryKey("log", key.public_key, TIME, None, key.name) for key in in_use[:-1]]
    listed += [DirectoryKey("log", key.public_key, since, None, key.name) for key in in_use[-1:]]
    listed += signers
    previous = digest_of(before[-1]) if before else None
    made = KeyDirectory(len(before) + 1, "grace.local", TIME, EXPIRY, root.public_key, previous, tuple(listed))
    return sign_directory(made, [(root.key_id, root.sign)])
