"""What the notary reads of a record: the attributes that its statement repeats."""

import re
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from grace_common.contract import topics
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES
from grace_common.contract.errors import Refused

_SUBJECTS: Final = (  # the member of an event's data that says what it is about, the most telling first
    ("task_id", "task"),
    ("evaluation_id", "evaluation"),
    ("decision_id", "decision"),
    ("operation_id", "operation"),
    ("refusal_id", "refusal"),
)


_CANONICAL: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)  # RFC 9562, section 4


class Fact(NamedTuple):
    """The attributes of an envelope that its statement repeats. Ids are UUIDs in their canonical spelling."""

    id: str
    type: str
    time: str
    correlation: str
    causation: str | None
    operation: str
    actor: str
    data: dict[str, Any]
    moment: datetime


def read_fact(value: bytes) -> Fact:
    """Return the attributes of an envelope; the data are not validated: those who consume them do that.

    raises  Refused when the bytes are no envelope, or an attribute is not what a statement can repeat
    """
    if len(value) > MAX_ENVELOPE_BYTES:  # its entry might not fit the record that carries it
        raise Refused(f"the record has {len(value)} bytes and an envelope at most {MAX_ENVELOPE_BYTES}")
    try:
        attributes = orjson.loads(value)
        fact = Fact(
            id=_id(attributes["id"]),
            type=attributes["type"],
            time=attributes["time"],
            correlation=attributes["correlationid"],
            causation=attributes.get("causationid"),
            operation=_id(attributes["operationid"]),
            actor=attributes["actor"],
            data=attributes["data"],
            moment=datetime.fromisoformat(attributes["time"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"the record is no envelope: {type(error).__name__}: {error}") from error
    if attributes.get("specversion") != "1.0" or not isinstance(fact.data, dict) or fact.moment.tzinfo is None:
        raise Refused("the record is no CloudEvents 1.0 envelope with an object as data and a time with its zone")
    for name, text in (("type", fact.type), ("correlationid", fact.correlation), ("actor", fact.actor)):
        # U+0000 fits no text column of a database, and an empty text says nothing.
        if not isinstance(text, str) or not text or "\0" in text:
            raise Refused(f"the envelope's {name} is not a text to be stated")
    if fact.causation is not None and (not isinstance(fact.causation, str) or not fact.causation):
        raise Refused("the envelope's causationid is not a text to be stated")
    return fact


def _id(text: str) -> str:
    return text if _CANONICAL.fullmatch(text) else str(UUID(text))


def text_of(key: bytes) -> str:
    """Return a record's key as the text that its statement repeats; raises Refused when it is none."""
    try:
        text = key.decode()
    except UnicodeDecodeError as error:
        raise Refused("the record's key is not UTF-8") from error
    if not text:
        raise Refused("the record has no key")
    return text


def subject_of(fact: Fact, topic: str, key: str) -> tuple[str, str]:
    """Return what kind of thing a fact is about, and which one."""
    for member, kind in _SUBJECTS:
        subject = fact.data.get(member)
        if isinstance(subject, str) and subject:
            return kind, subject
    return topics.by_name(topic).noun, key
