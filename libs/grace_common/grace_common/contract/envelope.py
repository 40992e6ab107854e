"""The CloudEvents 1.0 structured JSON envelope around every event.

What is refused is never quoted back: a record may hold a secret, and the reason goes to logs and dead letters.

Source: CloudEvents specification 1.0.2 and its JSON event format. Extension attributes are lower-case letters and
digits only, as the specification demands.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from grace_common.contract import events  # noqa: F401  (loads every event class into the registry)
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event, answer_id, event_types

MAX_ENVELOPE_BYTES: Final = 48 * 1024
# Notarised entries carry an envelope as a JSON text, in which each of its bytes takes two at the most, and a statement.
MAX_RECORD_BYTES: Final = 3 * MAX_ENVELOPE_BYTES
MAX_DEPTH: Final = 32
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # an escape, not an escaped backslash before u0000
CONTENT_TYPE: Final = "application/cloudevents+json"

_REQUIRED: Final = ("id", "source", "type", "time", "data", "correlationid", "operationid", "actor")
_NEEDED: Final = frozenset(_REQUIRED)
_KNOWN: Final = frozenset(
    (*_REQUIRED, "specversion", "datacontenttype", "dataschema", "subject", "causationid", "traceparent")
)
_TYPE: Final = re.compile(r"(grace\.[a-z][a-z-]{0,60})\.v([1-9][0-9]{0,5})")
_MOST_NAMED: Final = 5
_LONGEST_NAME: Final = 60


Attributes = Mapping[str, Any]
"""An envelope as `parse` leaves it: attributes by name, all text but `data`, which is whatever JSON it is."""


class UnsupportedVersion(Refused):
    """The type is of a newer version than this code knows: parked, never guessed, handled after the upgrade."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event with the attributes that say where it comes from and why.

    id            of this fact; derives from its cause (`answer`) or is a UUIDv7 (`first`)
    source        `/grace/<service>` or `/producer/<name>`
    time          when it was stated, timezone-aware
    correlation   the task (or evaluation, or decision) that all of this is about
    causation     id of the event that caused this one; None for a first event
    operation     the operation within which it was stated
    actor         the person or service on whose behalf
    traceparent   W3C trace context; None where nothing was traced
    """

    id: UUID
    source: str
    time: datetime
    correlation: str
    causation: UUID | None
    operation: UUID
    actor: str
    traceparent: str | None
    event: Event

    @property
    def type(self) -> str:
        return self.event.TYPE

    @property
    def key(self) -> bytes:
        return self.event.partition_key.encode()


@dataclass(frozen=True, slots=True)
class Context:
    """What an envelope takes from the work in which its event was stated."""

    source: str
    operation: UUID
    actor: str
    correlation: str
    traceparent: str | None = None


def first(event: Event, context: Context, *, id: UUID, time: datetime) -> Envelope:
    """Wrap a fact that nothing of Grace caused; `id` is a UUIDv7 or derives from an idempotency key."""
    return Envelope(
        id=id,
        source=context.source,
        time=time,
        correlation=context.correlation,
        causation=None,
        operation=context.operation,
        actor=context.actor,
        traceparent=context.traceparent,
        event=event,
    )


def answer(event: Event, cause: UUID, context: Context, *, ordinal: int, time: datetime) -> Envelope:
    """Wrap a fact caused by the event `cause`; `ordinal` counts the answers of one type to one cause from zero."""
    return Envelope(
        id=answer_id(cause, event.TYPE, ordinal),
        source=context.source,
        time=time,
        correlation=context.correlation,
        causation=cause,
        operation=context.operation,
        actor=context.actor,
        traceparent=context.traceparent,
        event=event,
    )


def encode(envelope: Envelope) -> bytes:
    """Return the exact bytes that are sealed and sent; Refused above 48 KiB."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(envelope.id),
        "source": envelope.source,
        "type": envelope.event.TYPE,
        "time": envelope.time.isoformat(),
        "subject": envelope.event.partition_key,
        "datacontenttype": "application/json",
        "dataschema": f"urn:grace:schema:{envelope.event.schema_name()}",
        "correlationid": envelope.correlation,
        "operationid": str(envelope.operation),
        "actor": envelope.actor,
    }
    if envelope.causation is not None:
        attributes["causationid"] = str(envelope.causation)
    if envelope.traceparent is not None:
        attributes["traceparent"] = envelope.traceparent
    attributes["data"] = orjson.Fragment(envelope.event.model_dump_json().encode())
    value = orjson.dumps(attributes)
    if len(value) > MAX_ENVELOPE_BYTES:
        raise Refused(
            f"the {envelope.event.TYPE} envelope has {len(value)} bytes and the limit is {MAX_ENVELOPE_BYTES}; "
            "send less, or split the request"
        )
    _refuse_nul(value)
    return value


def parse(value: bytes) -> dict[str, Any]:
    """Return the attributes of an envelope without opening its data; Refused says what is wrong with the bytes.

    An integer beyond 64 bits comes as the float next to it; `open` reads it as it is, at three times the cost.
    """
    return _attributes(value, orjson.loads)


def open(value: bytes) -> Envelope:
    """Return the envelope with its event in the newest version.

    raises  Refused for anything that is no valid envelope of a known type, UnsupportedVersion for a newer version
    """
    # Not orjson: an example may well hold an integer of any size.
    return opened(_attributes(value, partial(from_json, allow_inf_nan=False)))


def _attributes(value: bytes, read: Callable[[bytes], Any]) -> dict[str, Any]:
    if len(value) > MAX_ENVELOPE_BYTES:
        raise Refused(f"the record has {len(value)} bytes and an envelope at most {MAX_ENVELOPE_BYTES}")
    _refuse_nul(value)
    try:
        attributes = read(value)
    except ValueError as error:
        raise Refused(f"the record is not JSON: {error}") from error
    if not isinstance(attributes, dict):
        raise Refused(f"the record is a JSON {type(attributes).__name__}, expected a CloudEvents object")
    if attributes.get("specversion") != "1.0":
        raise Refused("specversion is missing or not '1.0'")
    if not attributes.keys() >= _NEEDED:
        missing = [name for name in _REQUIRED if name not in attributes]
        raise Refused(f"the envelope lacks {', '.join(missing)}")
    if not attributes.keys() <= _KNOWN:
        raise Refused(f"the envelope has unknown attributes: {_named(attributes.keys() - _KNOWN)}")
    not_text = [name for name, held in attributes.items() if type(held) is not str and name != "data"]
    if not_text:
        raise Refused(f"the envelope's {_named(not_text)} must be text")
    # Most records have too few brackets to be deep; counting bytes is far cheaper than walking the data.
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _deeper_than(attributes["data"], MAX_DEPTH):
        raise Refused(f"the data is nested deeper than {MAX_DEPTH} levels")
    return attributes


def opened(attributes: Attributes) -> Envelope:
    """Return the envelope that `parse` took apart; raises as `open` does."""
    event_class = _event_class(attributes["type"])
    try:
        # JSON mode, strict: types are the schema's (no "7" for 7), and text stands for what JSON cannot say (UUIDs).
        event = event_class.model_validate_json(to_json(attributes["data"]), strict=True).upcast()
    except ValidationError as error:
        raise Refused(f"{attributes['type']} data is invalid: {explain(error)}") from error
    try:
        causation = attributes.get("causationid")
        envelope = Envelope(
            id=UUID(attributes["id"]),
            source=attributes["source"],
            time=datetime.fromisoformat(attributes["time"]),
            correlation=attributes["correlationid"],
            causation=UUID(causation) if causation is not None else None,
            operation=UUID(attributes["operationid"]),
            actor=attributes["actor"],
            traceparent=attributes.get("traceparent"),
            event=event,
        )
    except ValueError as error:
        raise Refused(
            "id, operationid, causationid or time is malformed: UUIDs and an RFC 3339 time belong there"
        ) from (error)
    if envelope.time.tzinfo is None:
        raise Refused("the envelope's time names no timezone")
    return envelope


def explain(error: ValidationError, most: int = _MOST_NAMED) -> str:
    """Return pydantic's findings in one line that never repeats the offending values: they may be secrets."""
    found = [
        f"{'.'.join(str(part)[:_LONGEST_NAME] for part in item['loc']) or 'the object'}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    shown = "; ".join(found[:most])
    return shown if len(found) <= most else f"{shown}; and {len(found) - most} more"


def _event_class(type_: str) -> type[Event]:
    types = event_types()
    if type_ in types:
        return types[type_]
    named = _TYPE.fullmatch(type_)
    if named is None:
        raise Refused("the type is no event type of Grace; they read grace.<name>.v<number>")
    stem, version = named[1], int(named[2])
    known = [int(name.rpartition(".v")[2]) for name in types if name.rpartition(".v")[0] == stem]
    if known and version > max(known):
        raise UnsupportedVersion(f"{type_} is newer than this service knows (v{max(known)}); upgrade, then replay it")
    raise Refused(f"{type_} is no event type of Grace")


def _named(names: Iterable[str]) -> str:
    """Return names that a sender chose, in order: not too many, not too long."""
    found = sorted(names)
    shown = ", ".join(name[:_LONGEST_NAME] for name in found[:_MOST_NAMED])
    return shown if len(found) <= _MOST_NAMED else f"{shown} and {len(found) - _MOST_NAMED} more"


def _refuse_nul(value: bytes) -> None:
    """Refuse the character U+0000: PostgreSQL's text cannot hold it, so a fact with it could not be kept."""
    if b"\\u0000" in value and _NUL.search(value):
        raise Refused("the text holds the character U+0000, which Grace cannot keep; take it out")


def _deeper_than(value: object, limit: int) -> bool:
    """Return whether a value read from JSON has more than `limit` levels of objects and lists."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if type(item) is dict or type(item) is list
            for child in (item.values() if type(item) is dict else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)
