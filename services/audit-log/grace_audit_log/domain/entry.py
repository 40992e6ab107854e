"""Entries of the ledger, as the crypto-signer states them on `grace.signature.v1`."""

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterable
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
from grace_common.contract.events.signature import EntriesNotarized
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


def read_entries(value: bytes) -> list[Entry | Refused]:
    """Return the entries of one record, in their order; in the place of one that is none, why not.

    Without the contract's classes: they cost five times as much, and whoever wrote this record has used them.

    raises  Refused when the record does not state entries
    """
    try:
        attributes: dict[str, Any] = orjson.loads(value)
        type_, data = attributes["type"], attributes["data"]
        if type_ == EntriesNotarized.TYPE:
            return [_read(each, str.encode) for each in data["entries"]]
        if type_ in TYPES:  # an entry with a record of its own: its bytes are in base64
            return [_read(data, _decoded)]
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"the record states no entries of the ledger: {type(error).__name__}: {error}") from error
    raise Refused(f"a record of type {type_!r} states no entries of the ledger")


def _read(data: dict[str, Any], bytes_of: Callable[[str], bytes]) -> Entry | Refused:
    try:
        payload = data.get("payload")
        entry = Entry(
            entry_id=UUID(data["entry_id"]),
            leaf=bytes_of(data["leaf"]),
            entry_type=_text(data["entry_type"]),
            operation_id=UUID(data["operation_id"]),
            correlation=_text(data["correlation"]),
            actor=_text(data["actor"]),
            service=_text(data["service"]),
            time=datetime.fromisoformat(data["time"]),
            payload=None if payload is None else bytes_of(payload),
        )
    except (ValueError, KeyError, TypeError, AttributeError, Base64Error) as error:
        return Refused(f"no entry of the ledger: {type(error).__name__}: {error}")
    if not 0 < len(entry.leaf) <= MAX_ENTRY_BYTES:
        return Refused(f"the leaf has {len(entry.leaf)} bytes, expected 1 to {MAX_ENTRY_BYTES}")
    if entry.time.tzinfo is None:
        return Refused("the entry's time names no timezone")
    return entry


def first_copies(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries without later copies of an id, in order."""
    found: dict[UUID, Entry] = {}
    for entry in entries:
        found.setdefault(entry.entry_id, entry)
    return list(found.values())


def _decoded(value: str) -> bytes:
    return a2b_base64(value.encode("ascii").translate(_STANDARD))


def _text(value: object) -> str:
    # PostgreSQL's text cannot hold U+0000; an entry with one could never be stored.
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("text without U+0000 expected")
    return value
