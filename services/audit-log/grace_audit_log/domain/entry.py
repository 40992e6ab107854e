"""One entry of the ledger, as the crypto-signer states it on `grace.signature.v1`."""

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from grace_common.contract import (
    events,  # noqa: F401  (loads every event class into the registry)
    topics,
)
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import event_types
from grace_common.transparency.tile import MAX_ENTRY_BYTES

TYPES: Final = frozenset(type_ for type_, event in event_types().items() if event.TOPIC is topics.SIGNATURE)
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")  # events carry URL-safe base64 (RFC 4648, section 5)


@dataclass(frozen=True, slots=True)
class Place:
    """What an entry can be searched by, and where it stands."""

    index: int
    entry_id: UUID
    entry_type: str
    operation_id: UUID
    correlation: str
    actor: str
    service: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes one leaf and its row.

    entry_id  the identity of the entry: the first copy of an id wins
    leaf      exact bytes of the signed statement
    payload   what the statement is about; None where the statement says it all
    """

    entry_id: UUID
    leaf: bytes
    entry_type: str
    operation_id: UUID
    correlation: str
    actor: str
    service: str
    time: datetime
    payload: bytes | None = None

    def at(self, index: int) -> Place:
        """Return this entry's place in the tree."""
        return Place(
            index,
            self.entry_id,
            self.entry_type,
            self.operation_id,
            self.correlation,
            self.actor,
            self.service,
            self.time,
        )


def read_entry(value: bytes) -> Entry:
    """Return the entry of one record.

    Without the contract's classes: they cost five times as much, and whoever wrote this record has used them.

    raises  Refused when the record states no entry
    """
    try:
        attributes: dict[str, Any] = orjson.loads(value)
        if attributes["type"] not in TYPES:
            raise Refused(f"a record of type {attributes['type']!r} is no entry of the ledger")
        data: dict[str, Any] = attributes["data"]
        payload = data.get("payload")
        entry = Entry(
            entry_id=UUID(data["entry_id"]),
            leaf=_bytes(data["leaf"]),
            entry_type=_text(data["entry_type"]),
            operation_id=UUID(data["operation_id"]),
            correlation=_text(data["correlation"]),
            actor=_text(data["actor"]),
            service=_text(data["service"]),
            time=datetime.fromisoformat(data["time"]),
            payload=None if payload is None else _bytes(payload),
        )
    except (ValueError, KeyError, TypeError, AttributeError, Base64Error) as error:
        raise Refused(f"the record states no entry of the ledger: {type(error).__name__}: {error}") from error
    if not 0 < len(entry.leaf) <= MAX_ENTRY_BYTES:
        raise Refused(f"the leaf has {len(entry.leaf)} bytes, expected 1 to {MAX_ENTRY_BYTES}")
    if entry.time.tzinfo is None:
        raise Refused("the entry's time names no timezone")
    return entry


def first_copies(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries without later copies of an id, in order."""
    found: dict[UUID, Entry] = {}
    for entry in entries:
        found.setdefault(entry.entry_id, entry)
    return list(found.values())


def _bytes(value: str) -> bytes:
    return a2b_base64(value.encode("ascii").translate(_STANDARD))


def _text(value: object) -> str:
    # PostgreSQL's text cannot hold U+0000; an entry with one could never be stored.
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("text without U+0000 expected")
    return value
