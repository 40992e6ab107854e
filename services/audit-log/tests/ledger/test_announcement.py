"""What the others are told."""

from datetime import UTC, datetime
from uuid import UUID

from grace_audit_log.domain.announcement import MOST_ENTRIES, Voice
from grace_audit_log.domain.entry import Place
from grace_common.contract import envelope
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES
from grace_common.contract.events.ledger import CheckpointPublished, EntriesSealed, SealedEntry

TIME = datetime(2026, 11, 22, tzinfo=UTC)
VOICE = Voice("grace.local/log")


def place(index: int, actor: str = "ada") -> Place:
    return Place(index, UUID(int=index), "grace.task-submitted.v1", UUID(int=7), "task", actor, "gateway", TIME)


def sealed(values: list[bytes]) -> list[EntriesSealed]:
    events = [envelope.open(value).event for value in values]
    return [event for event in events if isinstance(event, EntriesSealed)]


def test_every_entry_is_told_once_in_order_within_the_limits() -> None:
    places = [place(number) for number in range(250)]

    told = sealed(VOICE.entries_sealed(places, 250, TIME))

    assert [len(event.entries) for event in told] == [MOST_ENTRIES, MOST_ENTRIES, 50]
    assert [entry for event in told for entry in event.entries] == [
        SealedEntry(
            index=one.index,
            entry_id=one.entry_id,
            entry_type=one.entry_type,
            operation_id=one.operation_id,
            correlation=one.correlation,
            actor=one.actor,
            service=one.service,
            time=one.time,
        )
        for one in places
    ]
    assert {event.tree_size for event in told} == {250}


def test_entries_with_long_names_are_told_in_more_records_none_above_the_limit() -> None:
    values = VOICE.entries_sealed([place(number, "ä" * 3_000) for number in range(100)], 100, TIME)

    assert all(len(value) <= MAX_ENVELOPE_BYTES for value in values)
    assert [entry.index for event in sealed(values) for entry in event.entries] == list(range(100))


def test_nothing_is_told_of_nothing() -> None:
    assert VOICE.entries_sealed([], 1, TIME) == []


def test_telling_again_repeats_the_bytes_and_other_news_has_another_id() -> None:
    [value] = VOICE.entries_sealed([place(1)], 2, TIME)

    assert VOICE.entries_sealed([place(1)], 2, TIME) == [value]
    ids = {
        envelope.open(other).id
        for other in (
            value,
            *VOICE.entries_sealed([place(1)], 3, TIME),
            *VOICE.entries_sealed([place(0)], 2, TIME),
            *VOICE.entries_sealed([place(1), place(2)], 3, TIME),
            VOICE.checkpoint_published(2, bytes(32), b"note", TIME),
        )
    }
    assert len(ids) == 5


def test_a_published_checkpoint_is_told_with_its_note() -> None:
    opened = envelope.open(VOICE.checkpoint_published(2, b"\1" * 32, "grace.local/log\n2\n— x\n".encode(), TIME))

    assert opened.event == CheckpointPublished(
        tree_size=2, root_sha256="01" * 32, checkpoint="grace.local/log\n2\n— x\n"
    )
    assert (opened.source, opened.actor, opened.time) == ("/grace/audit-log", "audit-log", TIME)
