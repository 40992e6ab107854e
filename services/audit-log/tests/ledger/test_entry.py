"""Reading entries from records."""

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from grace_audit_log.domain.entry import Entry, first_copies, read_entry
from grace_common.contract import envelope
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.contract.events.ledger import CheckpointPublished
from grace_common.contract.events.signature import ArtifactAttested, EnvelopeNotarized, OperationKeyGenerated

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


def changed(**data: object) -> bytes:
    attributes = orjson.loads(record(EnvelopeNotarized.example()))
    attributes["data"] |= data
    return orjson.dumps(attributes)


def entry(number: int, leaf: bytes = b"leaf") -> Entry:
    return Entry(UUID(int=number), leaf, "grace.task-submitted.v1", ID, "task", "ada", "gateway", TIME)


def test_an_entry_is_read_as_the_contract_writes_it() -> None:
    leaf, payload = bytes(range(256)), b"\xff\xfe\xfb"
    stated = EnvelopeNotarized.example().model_copy(update={"leaf": leaf, "payload": payload})

    read = read_entry(record(stated))

    assert (read.leaf, read.payload) == (leaf, payload)
    assert (read.entry_id, read.operation_id, read.time) == (stated.entry_id, stated.operation_id, stated.time)
    assert (read.entry_type, read.correlation, read.actor, read.service) == (
        stated.entry_type,
        stated.correlation,
        stated.actor,
        stated.service,
    )


@pytest.mark.parametrize("event", [OperationKeyGenerated, ArtifactAttested])
def test_what_says_all_in_its_statement_has_no_payload(event: type[Event]) -> None:
    assert read_entry(record(event.example())).payload is None


@pytest.mark.parametrize(
    "value",
    [
        b"not json",
        b"[]",
        b"null",
        b"{}",
        record(CheckpointPublished.example()),
        changed(leaf=""),
        changed(leaf="A" * 4 * 22_000),
        changed(leaf="Ä"),
        changed(leaf=None),
        changed(leaf="A"),
        changed(entry_id="no id"),
        changed(entry_id=7),
        changed(actor="ada\0"),
        changed(actor=None),
        changed(time="2026-11-22T00:00:00"),
        changed(time="yesterday"),
        changed(payload=7),
    ],
)
def test_a_record_that_states_no_entry_is_refused(value: bytes) -> None:
    with pytest.raises(Refused):
        read_entry(value)


def test_the_first_copy_of_an_id_wins() -> None:
    assert first_copies([entry(1, b"a"), entry(2), entry(1, b"b"), entry(2)]) == [entry(1, b"a"), entry(2)]
