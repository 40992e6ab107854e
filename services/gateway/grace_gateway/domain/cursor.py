"""Opaque cursors: where a page of a list ended, so that the next begins behind it."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from grace_gateway.domain.refusals import Unprocessable


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page in a list ordered by time and id."""

    time: datetime
    id: UUID

    def encode(self) -> str:
        return _encode(f"{self.time.isoformat()}|{self.id}")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Return the cursor; raises Unprocessable for text that this service did not give out."""
        time, _, id_ = _decode(text).partition("|")
        try:
            cursor = cls(datetime.fromisoformat(time), UUID(id_))
        except ValueError as error:
            raise _foreign(text) from error
        if cursor.time.tzinfo is None:
            raise _foreign(text)
        return cursor


def encode_number(number: int) -> str:
    """Return the cursor of a list ordered by a whole number (a ledger index, a position)."""
    return _encode(str(number))


def decode_number(text: str) -> int:
    """Return the number in a cursor; raises Unprocessable for text that this service did not give out."""
    plain = _decode(text)
    if not plain.isascii() or not plain.isdigit() or len(plain) > 18:
        raise _foreign(text)
    return int(plain)


def _encode(plain: str) -> str:
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _foreign(text) from error


def _foreign(text: str) -> Unprocessable:
    return Unprocessable(f"cursor {text[:40]!r} is none of this service's; take `next_cursor` from the page before")
