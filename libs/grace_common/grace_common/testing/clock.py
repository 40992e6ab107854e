"""A clock that stands still, and ids in a row."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID


@dataclass
class FixedClock:
    """Implements `runtime.clock.Clock`; `advance` is the only way time passes."""

    time: datetime = datetime(2026, 11, 22, tzinfo=UTC)
    ids: int = 0

    def now(self) -> datetime:
        return self.time

    def new_id(self) -> UUID:
        self.ids += 1
        return UUID(f"019ac000-0000-7000-8000-{self.ids:012x}")

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
