"""What the audit-log tells the others, as envelope bytes: what it sealed and published, what its key is due for.

The ids derive from what is told, so telling it again after a crash repeats them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from grace_common.contract import topics
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES
from grace_common.contract.events.base import Event
from grace_common.contract.events.ledger import (
    CheckpointPublished,
    EntriesSealed,
    LogKeyRetirementProposed,
    LogKeySuccessionProposed,
)
from grace_common.transparency.note import VerifierKey

from grace_audit_log.domain.entry import Place

MOST_ENTRIES: Final = 100  # as EntriesSealed has it
_ROOM: Final = MAX_ENVELOPE_BYTES - 2048  # for the entries; the attributes around them need less than the rest


@dataclass(frozen=True, slots=True)
class Voice:
    """In whose name it is told: the log of one origin."""

    origin: str

    @property
    def operation(self) -> UUID:
        """The one operation that a log is: sealing what arrives."""
        return uuid5(NAMESPACE_URL, f"grace-log:{self.origin}")

    def entries_sealed(self, places: Iterable[Place], tree_size: int, time: datetime) -> list[bytes]:
        """Return the envelopes that say where entries stand, each within the limits on entries and bytes."""
        return [
            self._envelope(EntriesSealed, f"{first}#{count}#{tree_size}", time, data)
            for first, count, data in (
                (first, len(rows), b'{"entries":[%b],"tree_size":%d}' % (b",".join(rows), tree_size))
                for first, rows in _runs(places)
            )
        ]

    def checkpoint_published(self, size: int, root: bytes, note: bytes, time: datetime) -> bytes:
        """Return the envelope that carries a published checkpoint."""
        data = {"tree_size": size, "root_sha256": root.hex(), "checkpoint": note.decode()}
        return self._envelope(CheckpointPublished, str(size), time, orjson.dumps(data))

    def succession_proposed(self, leading: VerifierKey, successor: VerifierKey, time: datetime) -> bytes:
        """Return the envelope that says which key shall succeed the one that leads."""
        said = LogKeySuccessionProposed(log_key=str(leading), successor=str(successor))
        return self._envelope(type(said), said.successor, time, said.model_dump_json().encode())

    def retirement_proposed(self, leading: VerifierKey, older: VerifierKey, time: datetime) -> bytes:
        """Return the envelope that says which key may end."""
        said = LogKeyRetirementProposed(log_key=str(leading), older=str(older))
        return self._envelope(type(said), said.older, time, said.model_dump_json().encode())

    def _envelope(self, event: type[Event], what: str, time: datetime, data: bytes) -> bytes:
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(uuid5(self.operation, f"{event.TYPE}#{what}")),
            "source": f"/grace/{topics.AUDIT_LOG}",
            "type": event.TYPE,
            "time": time.isoformat(),
            "subject": "log",
            "datacontenttype": "application/json",
            "dataschema": f"urn:grace:schema:{event.schema_name()}",
            "correlationid": "log",
            "operationid": str(self.operation),
            "actor": topics.AUDIT_LOG,
            "data": orjson.Fragment(data),
        }
        return orjson.dumps(attributes)


def _runs(places: Iterable[Place]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Yield runs of encoded entries that fit one envelope, each with the index of its first."""
    rows: list[bytes] = []
    first = used = 0
    for place in places:
        row = orjson.dumps(place, default=str)  # asyncpg hands over ids of a class of its own
        if rows and (len(rows) == MOST_ENTRIES or used + len(row) > _ROOM):
            yield first, rows
            rows, used = [], 0
        if not rows:
            first = place.index
        rows.append(row)
        used += len(row) + 1
    if rows:
        yield first, rows
