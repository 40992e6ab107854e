"""Receipts: what they prove, and that no changed byte and no broken link of the chain passes."""

import json
import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from grace_common.contract import approval
from grace_common.contract.errors import Unready
from grace_common.testing.ledger import TIME, Delivery, MemoryLedger, SeededKey, sign_statement, statement
from grace_common.transparency.attestation import Attestation, Review, Subject
from grace_common.transparency.note import Note, SignatureType, cosign
from grace_common.transparency.receipt import Receipt, ReceiptRejected, make_receipt, verify_receipt
from grace_common.transparency.statement import (
    NOTARY_KEY_PUBLISHED,
    OPERATION_KEY_GENERATED,
    OperationKey,
    PublishedKey,
)


@pytest.fixture(scope="module")
def delivery() -> Delivery:
    return MemoryLedger().deliver()


def rejected(delivery: Delivery, reason: str, receipt: bytes | None = None) -> None:
    with pytest.raises(ReceiptRejected, match=reason):
        verify_receipt(receipt or delivery.receipt.encode(), delivery.artifact, delivery.log_vkey)


def edited(delivery: Delivery, edit: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(delivery.receipt.encode())
    edit(value)
    return json.dumps(value).encode()


def test_a_receipt_says_in_sentences_what_is_proven_and_by_whom(delivery: Delivery) -> None:
    findings = verify_receipt(delivery.receipt.encode(), delivery.artifact, delivery.log_vkey)

    root = findings.checkpoint.checkpoint.root.hex()
    digest = sha256(delivery.artifact).hexdigest()
    assert findings.sentences[:3] == [
        f"The log log.example/grace signed a tree of 310 entries with root {root}.",
        f"The log names the CA whose key has the id {SeededKey('ca').key_id}.",
        f"The file is double.py: 32 bytes, SHA-256 {digest}.",
    ]
    said = "\n".join(findings.sentences)
    assert (
        f"Entry 306 attests its provenance, signed with the attestation key {SeededKey('attestation').key_id}." in said
    )
    assert (
        "https://grace.example/builder made it in the run task-1, from 2026-11-22T00:00:00Z to 2026-11-22T00:00:00Z; "
        "it rests on prompt " in said
    )
    assert "Its tests ended as WARNED: 2 passed, 1 warned and 0 failed; it rests on specification " in said
    assert said.count("warned: a0: double(-1) == -3.\n") == 1
    assert (
        "A machine wrote it: the generator openai:small (the model small) under the strategy side-by-side@1; "
        "prompts by SHA-256: system " in said
    )
    assert "grace approved it as reviewer under the policy four-eyes@1 at 2026-11-22T00:00:00Z: this file," in said
    assert "Entry 0 states grace.notary-key-published.v1 about task task-1 by crypto-signer" in said
    assert (
        "Entry 3 states grace.task-submitted.v1 about task task-1 by ada through gateway at 2026-11-22T00:00:00Z, "
        "signed by the key of operation submit." in said
    )
    assert [proven.index for proven in findings.attestations] == [306, 307, 308, 309]


def test_a_receipt_is_read_back_as_it_was_written_also_when_indented(delivery: Delivery) -> None:
    assert Receipt.parse(delivery.receipt.encode()) == delivery.receipt
    indented = json.dumps(json.loads(delivery.receipt.encode()), indent=2).encode()
    assert verify_receipt(indented, delivery.artifact, delivery.log_vkey).receipt == delivery.receipt


def test_no_changed_byte_of_the_receipt_passes(delivery: Delivery) -> None:
    data = delivery.receipt.encode()
    chosen = random.Random(6962)
    for at in sorted(chosen.sample(range(len(data)), 600)):
        changed = bytearray(data)
        changed[at] ^= 1 << chosen.randrange(8)
        with pytest.raises(ReceiptRejected):
            verify_receipt(bytes(changed), delivery.artifact, delivery.log_vkey)


def test_no_changed_byte_of_the_artifact_or_of_the_logs_key_passes(delivery: Delivery) -> None:
    for at in range(len(delivery.artifact)):
        changed = bytearray(delivery.artifact)
        changed[at] ^= 1
        with pytest.raises(ReceiptRejected, match="the receipt is for 32 bytes"):
            verify_receipt(delivery.receipt.encode(), bytes(changed), delivery.log_vkey)
    for at in range(len(delivery.log_vkey)):
        vkey = bytearray(delivery.log_vkey.encode())
        vkey[at] ^= 1
        with pytest.raises(ReceiptRejected):
            verify_receipt(delivery.receipt.encode(), delivery.artifact, vkey.decode())


def test_a_receipt_cut_short_or_of_another_format_is_rejected(delivery: Delivery) -> None:
    rejected(delivery, "not JSON", delivery.receipt.encode()[:-1])
    rejected(
        delivery, "format 'grace-receipt/v3'", edited(delivery, lambda value: value.update(format="grace-receipt/v3"))
    )
    rejected(delivery, "lacks", edited(delivery, lambda value: value.pop("keys")))
    rejected(delivery, "unknown", edited(delivery, lambda value: value.update(note="x")))
    rejected(delivery, "repeats", delivery.receipt.encode().replace(b'"keys":', b'"keys":{"ca":""},"keys":'))
    rejected(delivery, "half a character", edited(delivery, lambda value: value.update(checkpoint="\ud800")))


def test_the_key_of_another_log_proves_nothing(delivery: Delivery) -> None:
    with pytest.raises(ReceiptRejected, match="no signature by"):
        verify_receipt(
            delivery.receipt.encode(), delivery.artifact, str(SeededKey("stranger").named("log.example/grace"))
        )


def test_a_ca_that_the_checkpoint_does_not_name_is_rejected(delivery: Delivery) -> None:
    other = replace(delivery.receipt, ca_keys=(SeededKey("other ca").public_key,))
    rejected(delivery, "does not name the receipt's CA key", other.encode())


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_key_that_nobody_announced_signs_nothing(delivery: Delivery, missing: int) -> None:
    entries = delivery.receipt.entries
    without = replace(delivery.receipt, entries=(*entries[:missing], *entries[missing + 1 :]))
    rejected(delivery, "none of which is known", without.encode())


def test_entries_out_of_order_or_twice_are_rejected(delivery: Delivery) -> None:
    first, second, *rest = delivery.receipt.entries
    rejected(delivery, "stands after", replace(delivery.receipt, entries=(second, first, *rest)).encode())
    rejected(delivery, "stands after", replace(delivery.receipt, entries=(first, first, *rest)).encode())


def test_attestations_must_be_those_of_the_ledger(delivery: Delivery) -> None:
    one = replace(delivery.receipt, attestations=delivery.receipt.attestations[:1])
    rejected(delivery, "not those of the ledger entries", one.encode())
    without = replace(delivery.receipt, attestations=(), entries=delivery.receipt.entries[:-4])
    rejected(delivery, "attests nothing", without.encode())


def test_an_attestation_of_another_artifact_proves_nothing_of_this_one(delivery: Delivery) -> None:
    renamed = replace(delivery.receipt, artifact_name="triple.py")
    rejected(delivery, "is of another artifact", renamed.encode())


def test_a_payload_must_be_the_one_that_its_statement_names(delivery: Delivery) -> None:
    rejected(
        delivery,
        "entry 3: the payload shown with it is not",
        edited(delivery, lambda value: value["entries"][3].update(payload=b64encode(b"[]").decode())),
    )
    rejected(
        delivery,
        "entry 306: the payload shown with it is not",
        edited(delivery, lambda value: value["entries"][6].update(payload=b64encode(b"[]").decode())),
    )


def test_a_review_rests_on_the_approval_shown_with_it(delivery: Delivery) -> None:
    rejected(
        delivery,
        "rests on the approval approval-1, which the receipt does not show",
        edited(delivery, lambda value: value["entries"][5].pop("payload")),
    )


def review_of(content: bytes, **changes: str) -> Review:
    digest = sha256(content).hexdigest()
    said = {"artifact": digest, "report": digest, "decision": digest, **changes}
    return Review("grace", "reviewer", "four-eyes@1", event_id="approval-1", time=TIME, **said)


@pytest.mark.parametrize(
    ("type", "actor", "by", "changes", "reason"),
    [
        ("grace.approval-given.v1", "grace", "grace", {"artifact": "0" * 64}, "of another artifact"),
        ("grace.approval-given.v1", "grace", "grace", {"report": "0" * 64}, "not what the approval at entry 3 says"),
        ("grace.approval-given.v1", "ada", "grace", {}, "not what the approval at entry 3 says"),
        ("grace.approval-given.v1", "grace", "ada", {}, "not what the approval at entry 3 says"),
        ("grace.approval-denied.v1", "grace", "grace", {}, "which the receipt does not show"),
    ],
)
def test_a_review_that_claims_more_than_the_approval_said_is_rejected(
    type: str, actor: str, by: str, changes: dict[str, str], reason: str
) -> None:
    artifact = b"print()\n"
    approved = json.dumps({"data": {"by": by, "digest": review_of(artifact).approval_digest}}).encode()
    ledger = MemoryLedger()
    ledger.publish_key(ledger.notary, "notary")
    ledger.publish_key(ledger.attester, "attestation")
    ledger.announce("approve")
    at = ledger.state("approval-1", type, actor, "approve", approved)
    claim = review_of(artifact, **changes).of(Subject("a.py", sha256(artifact).hexdigest()))
    ledger.attest(claim)
    checkpoint = ledger.log.publish()
    made = make_receipt(
        "a.py", artifact, range(5), ledger.log.tree(), checkpoint, [ledger.ca.public_key], {at: approved}
    )

    with pytest.raises(ReceiptRejected, match=reason):
        verify_receipt(made.encode(), artifact, str(ledger.log.key))


def receipt_with(ledger: MemoryLedger, leaf: bytes, indices: Sequence[int] = range(5)) -> bytes:
    """A receipt of one attested artifact with one more leaf at its end."""
    ledger.publish_key(ledger.notary, "notary")
    ledger.publish_key(ledger.attester, "attestation")
    ledger.announce("submit")
    ledger.attest(Attestation((Subject("a", sha256(b"").hexdigest()),), "https://example.com/claim/v1", {}))
    ledger.log.append(leaf)
    checkpoint = ledger.log.publish()
    return make_receipt("a", b"", indices, ledger.log.tree(), checkpoint, [ledger.ca.public_key]).encode()


def test_a_predicate_of_another_kind_is_named_as_it_is() -> None:
    ledger, spare = MemoryLedger(), MemoryLedger()
    spare.state("id", "grace.task-submitted.v1", "ada", "submit", b"")
    findings = verify_receipt(receipt_with(ledger, spare.log.entries[0]), b"", str(ledger.log.key))

    assert any("the predicate https://example.com/claim/v1 of it" in said for said in findings.sentences)


def test_a_name_cannot_pass_for_a_sentence_of_its_own() -> None:
    ledger, spare = MemoryLedger(), MemoryLedger()
    spare.state("id", "grace.task-submitted.v1", "ada.\nThe log lies", "submit", b"")
    findings = verify_receipt(receipt_with(ledger, spare.log.entries[0]), b"", str(ledger.log.key))

    assert not any("\n" in sentence for sentence in findings.sentences)


def test_an_operations_key_signs_for_no_other_operation() -> None:
    ledger, spare = MemoryLedger(), MemoryLedger()
    spare.state("id", "grace.task-submitted.v1", "ada", "approve", b"")
    with pytest.raises(ReceiptRejected, match="entry 4: the envelope names the keys"):
        verify_receipt(receipt_with(ledger, spare.log.entries[0]), b"", str(ledger.log.key))


def test_an_operations_key_signs_nothing_in_the_name_of_another_that_was_announced_too() -> None:
    ledger = MemoryLedger()
    ledger.publish_key(ledger.notary, "notary")
    ledger.publish_key(ledger.attester, "attestation")
    ledger.announce("approve")
    forger = SeededKey("approve")
    fact = statement("id", "grace.task-submitted.v1", "ada", "submit", digest="0" * 64)
    receipt = receipt_with(ledger, sign_statement(fact, forger.key_id, forger.sign), range(8))

    with pytest.raises(ReceiptRejected, match="entry 7: the envelope names the keys"):
        verify_receipt(receipt, b"", str(ledger.log.key))


def test_a_notary_publishes_no_keys_and_an_operation_announces_none() -> None:
    stranger = SeededKey("stranger").public_key
    for forger, fact in (
        ("notary", statement("id", NOTARY_KEY_PUBLISHED, "x", "x", announced=PublishedKey(stranger, "notary"))),
        ("submit", statement("id", OPERATION_KEY_GENERATED, "x", "x", announced=OperationKey(stranger, "x", 1))),
        ("attestation", statement("id", OPERATION_KEY_GENERATED, "x", "x", announced=OperationKey(stranger, "x", 1))),
    ):
        ledger, key = MemoryLedger(), SeededKey(forger)
        receipt = receipt_with(ledger, sign_statement(fact, key.key_id, key.sign))
        with pytest.raises(ReceiptRejected, match="entry 4: the envelope names the keys"):
            verify_receipt(receipt, b"", str(ledger.log.key))


def test_entries_of_unknown_kind_or_with_two_signatures_are_rejected() -> None:
    ledger = MemoryLedger()
    leaf = b'{"payload":"","payloadType":"text/plain","signatures":[{"sig":"AA=="}]}'
    with pytest.raises(ReceiptRejected, match="unknown type text/plain"):
        verify_receipt(receipt_with(ledger, leaf), b"", str(ledger.log.key))
    ledger, spare = MemoryLedger(), MemoryLedger()
    spare.state("id", "grace.task-submitted.v1", "ada", "submit", b"")
    envelope = json.loads(spare.log.entries[0])
    envelope["signatures"] *= 2
    with pytest.raises(ReceiptRejected, match="has 2 signatures; expected one"):
        verify_receipt(receipt_with(ledger, json.dumps(envelope).encode()), b"", str(ledger.log.key))


def test_witnesses_count_towards_the_quorum(delivery: Delivery) -> None:
    witness = SeededKey("witness").named("witness.example", SignatureType.COSIGNATURE)
    note = Note.parse(delivery.receipt.checkpoint)
    line = cosign(note.text, witness, SeededKey("witness").sign, 1_700_000_000)
    cosigned = replace(delivery.receipt, checkpoint=note.with_signature(line).encode()).encode()

    findings = verify_receipt(cosigned, delivery.artifact, delivery.log_vkey, [str(witness)], quorum=1)

    assert "The witness witness.example saw that tree at 1700000000 s." in findings.sentences
    with pytest.raises(ReceiptRejected, match="0 of the 1 witnesses"):
        verify_receipt(delivery.receipt.encode(), delivery.artifact, delivery.log_vkey, [str(witness)], quorum=1)


def test_the_digest_of_a_review_is_the_one_that_approvals_name() -> None:
    digests = {name: sha256(name.encode()).hexdigest() for name in ("artifact", "report", "decision")}
    review = Review("grace", "reviewer", "p", event_id="e", time=TIME, **digests)

    assert review.approval_digest == approval.approval_digest(**digests)


def test_an_absent_file_of_the_log_is_unready() -> None:
    with pytest.raises(Unready, match="tile/0/000 is absent"):
        MemoryLedger().log.read("tile/0/000")
