"""Which entries ask that a payload go."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
from grace_common.contract import topics
from grace_common.contract.events.signature import KeyDirectoryPublished
from grace_common.contract.events.task import RedactionRequested

from grace_audit_log.domain.entry import Entry

# What asks for a redaction stays: it proves that the other payload may be missing. The key directory is public.
KEPT: Final = (RedactionRequested.TYPE, KeyDirectoryPublished.TYPE)


@dataclass(frozen=True, slots=True)
class Redaction:
    """The entry at `entry` asks that the payload of the one at `index`, known by its id too, be removed."""

    index: int
    entry_id: UUID
    entry: int


def redactions(entries: Iterable[Entry], first: int) -> list[Redaction]:
    """Return what new entries, of which the first has index `first`, ask for; the gateway alone may ask."""
    found: list[Redaction] = []
    for index, entry in enumerate(entries, first):
        if entry.entry_type == RedactionRequested.TYPE and entry.service == topics.GATEWAY and entry.payload:
            try:
                data = orjson.loads(entry.payload)["data"]
                asked = Redaction(data["index"], UUID(data["entry_id"]), index)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # it stands in the ledger as it came, and asks for nothing that can be found
            if type(asked.index) is int and 0 <= asked.index < index:
                found.append(asked)
    return found
