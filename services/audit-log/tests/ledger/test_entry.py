"""Reading entries from records."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from grace_audit_log.domain.entry import Entry, first_copies, read_entries
from grace_common.contract import envelope
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.ledger import CheckpointPublished
from grace_common.contract.events.signature import (
    ArtifactAttested,
    EntriesNotarized,
    EnvelopeNotarized,
    NotarizedEntry,
    OperationKeyGenerated,
)

ID = UUID("019ac000-0000-7000-8000-000000000005")
TIME = datetime(2026, 11, 22, tzinfo=UTC)


def record(event: Event) -> bytes:
    return envelope.encode(
        Envelope(
            id=ID,
            source="/grace/crypto-signer",
            time=TIME,
            correlation="keys",
            causation=None,
            operation=ID,
            actor="ada",
            traceparent=None,
            event=event,
        )
    )


STATED = EntriesNotarized.example().entries[0]


def changed(**data: object) -> bytes:
    """Return a record of three entries, of which the second is changed."""
    attributes = orjson.loads(record(EntriesNotarized(entries=(STATED, STATED, STATED))))
    attributes["data"]["entries"][1] |= data
    return orjson.dumps(attributes)


def entry(number: int, leaf: bytes = b"leaf") -> Entry:
    return Entry(UUID(int=number), leaf, "grace.task-submitted.v1", ID, "task", "ada", "gateway", TIME)


def same(read: Entry | Refused, stated: NotarizedEntry | EnvelopeNotarized) -> bool:
    names = ("entry_id", "operation_id", "time", "entry_type", "correlation", "actor", "service")
    return [getattr(read, name) for name in names] == [getattr(stated, name) for name in names]


def test_entries_are_read_as_the_contract_writes_them() -> None:
    first = STATED.model_copy(update={"leaf": '{"é":"\\ud83d"}', "payload": '{"a":"\\"\\n"}\n'})
    second = STATED.model_copy(update={"entry_id": UUID(int=2), "payload": None})

    read = read_entries(record(EntriesNotarized(entries=(first, second))))

    assert [same(one, stated) for one, stated in zip(read, (first, second), strict=True)] == [True, True]
    assert [(one.leaf, one.payload) for one in read if isinstance(one, Entry)] == [
        (first.leaf.encode(), (first.payload or "").encode()),
        (second.leaf.encode(), None),
    ]


def test_an_entry_with_a_record_of_its_own_is_read_as_the_contract_wrote_it() -> None:
    leaf, payload = bytes(range(256)), b"\xff\xfe\xfb"
    stated = EnvelopeNotarized.example().model_copy(update={"leaf": leaf, "payload": payload})

    [read] = read_entries(record(stated))

    assert same(read, stated)
    assert isinstance(read, Entry)
    assert (read.leaf, read.payload) == (leaf, payload)


@pytest.mark.parametrize("event", [OperationKeyGenerated, ArtifactAttested])
def test_what_says_all_in_its_statement_has_no_payload(event: type[Event]) -> None:
    [read] = read_entries(record(event.example()))

    assert isinstance(read, Entry)
    assert read.payload is None


@pytest.mark.parametrize("value", [b"not json", b"[]", b"null", b"{}", record(CheckpointPublished.example())])
def test_a_record_that_states_no_entries_is_refused(value: bytes) -> None:
    with pytest.raises(Refused):
        read_entries(value)


@pytest.mark.parametrize(
    "change",
    [
        {"leaf": ""},
        {"leaf": "A" * 66_000},
        {"leaf": None},
        {"leaf": 7},
        {"entry_id": "no id"},
        {"entry_id": 7},
        {"actor": "ada\0"},
        {"actor": None},
        {"time": "2026-11-22T00:00:00"},
        {"time": "yesterday"},
        {"payload": 7},
    ],
)
def test_what_is_no_entry_is_refused_and_its_neighbours_are_not(change: dict[str, object]) -> None:
    before, refused, after = read_entries(changed(**change))

    assert same(before, STATED)
    assert isinstance(refused, Refused)
    assert same(after, STATED)


def test_the_first_copy_of_an_id_wins() -> None:
    assert first_copies([entry(1, b"a"), entry(2), entry(1, b"b"), entry(2)]) == [entry(1, b"a"), entry(2)]
