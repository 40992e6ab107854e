"""One key, one effect: an `Idempotency-Key` decides the id of what it creates."""

import re
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from grace_gateway.domain.refusals import Unprocessable

# Visible ASCII, as the draft "The Idempotency-Key HTTP Header Field" allows in a quoted string.
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_NAMESPACE: Final = UUID("6f1d3c1e-58b1-5c39-9d0b-6a2f7c0e4b11")


def keyed_id(user: str, purpose: str, key: str) -> UUID:
    """Return the id that a user's key gives to what it creates; the same user and key always give the same.

    purpose  what is created, such as `tasks`: one key may be used once for each
    raises   Unprocessable for a key that is empty, longer than 255 characters or not visible ASCII
    """
    if not _KEY.fullmatch(key):
        raise Unprocessable("Idempotency-Key must be 1 to 255 visible ASCII characters")
    return uuid5(_NAMESPACE, f"{purpose}\n{user}\n{key}")


def body_digest(body: bytes) -> bytes:
    """Return what tells two bodies apart: SHA-256 of the validated body in canonical form."""
    return sha256(body).digest()
