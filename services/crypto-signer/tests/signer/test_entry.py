"""Signing together what one key has to sign, and packing entries into records."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import orjson
from grace_common.contract.envelope import MAX_ENVELOPE_BYTES
from grace_common.contract.events.task import TaskSubmitted
from grace_common.transparency.dsse import DsseEnvelope
from grace_crypto_signer.domain.entry import MOST_SIGNED_TOGETHER, Draft, groups, signed
from grace_crypto_signer.domain.notary import Notary

from .examples import KEYRING, OWN, Stated, entries_of

FIRST, SECOND = uuid4(), uuid4()


def drafts(*operations: UUID, size: int = 0) -> list[Draft]:
    """Return the entries of one fact of each of these operations, about `size` bytes larger than they must be."""
    notary = Notary(KEYRING, OWN)
    made: list[Draft] = []
    for operation in operations:
        event = TaskSubmitted.example().model_copy(update={"requester": "x" * size or "ada"})
        fact = Stated(event, id=uuid4(), operation=operation)
        made += notary.notarize(fact.topic, fact.key, fact.value, "gateway")
    return made


def signature_bytes(values: Sequence[bytes]) -> list[int]:
    envelopes = [DsseEnvelope.parse(entry.leaf.encode()) for entry in entries_of(values)]
    return [len(envelope.signatures[0].signature) for envelope in envelopes]


def test_facts_of_one_operation_are_signed_together_and_so_are_the_keys_that_the_notary_announces() -> None:
    entries = drafts(FIRST, SECOND, FIRST, FIRST)  # key and fact, key and fact, fact, fact

    together = [[entries.index(draft) for draft in group] for group in groups(entries)]

    assert sorted(together) == [[0, 2], [1, 4, 5], [3]]
    assert signature_bytes(signed(entries)) == [72 + 32, 72 + 64, 72 + 32, 64, 72 + 64, 72 + 32]


def test_no_more_are_signed_together_than_keeps_each_signature_short() -> None:
    entries = drafts(*[FIRST] * (2 * MOST_SIGNED_TOGETHER + 1))

    assert sorted(len(group) for group in groups(entries)) == [1, 1, MOST_SIGNED_TOGETHER, MOST_SIGNED_TOGETHER]
    assert max(signature_bytes(signed(entries))) == 72 + 4 * 32


def test_entries_keep_their_order_and_fill_records_up_to_an_envelopes_size() -> None:
    entries = drafts(*[uuid4() for _ in range(60)], size=1000)

    values = signed(entries)

    assert [str(one.entry_id) for one in entries_of(values)] == [draft.members["entry_id"] for draft in entries]
    assert all(len(value) <= MAX_ENVELOPE_BYTES for value in values)
    assert all(len(value) > 0.8 * MAX_ENVELOPE_BYTES for value in values[:-1])


def test_an_entry_that_is_larger_than_an_envelope_has_a_record_of_its_own() -> None:
    small, large = drafts(FIRST), drafts(SECOND, size=47_500)

    values = signed([*small, *large, *drafts(uuid4())])

    assert [len(value) > MAX_ENVELOPE_BYTES for value in values] == [False, True, False]
    [alone] = orjson.loads(values[1])["data"]["entries"]
    assert alone["entry_id"] == large[-1].members["entry_id"]


def test_there_are_no_records_of_no_entries() -> None:
    assert signed([]) == []
