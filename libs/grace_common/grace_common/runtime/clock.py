"""Where time and new ids come from, so that everything else takes them as arguments."""

from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import uuid_utils


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present, timezone-aware in UTC."""
        ...

    def new_id(self) -> UUID:
        """Return a new UUIDv7 (RFC 9562, section 5.7)."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> UUID:
        return UUID(bytes=uuid_utils.uuid7().bytes)
