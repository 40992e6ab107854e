"""Notarising: what an entry says, that it verifies, and that it never changes."""

from hashlib import sha256
from uuid import UUID, uuid4

import orjson
import pytest
from grace_common.contract import envelope, topics
from grace_common.contract.approval import approval_digest
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import event_types
from grace_common.contract.events.operation import OperationSucceeded
from grace_common.contract.events.round import ApprovalRecorded, PoliciesPublished, TaskCompleted
from grace_common.contract.events.signature import ArtifactAttested, NotarizedEntry, NotaryKeyPublished
from grace_common.contract.events.task import ApprovalGiven, TaskSubmitted
from grace_common.testing.ledger import MemoryLog
from grace_common.transparency.attestation import (
    AUTHORSHIP,
    PROVENANCE,
    REVIEW,
    TEST_RESULT,
    Attestation,
    Authorship,
    Prompt,
    Subject,
    TestResult,
    read_predicate,
)
from grace_common.transparency.checkpoint import ca_extension
from grace_common.transparency.dsse import DsseEnvelope, verify_envelope
from grace_common.transparency.receipt import make_receipt, verify_receipt
from grace_common.transparency.statement import OperationKey, PublishedKey, Statement, read_leaf, verifier_of
from grace_crypto_signer.domain.entry import signed
from grace_crypto_signer.domain.notary import KEY_ENTRY, Notary
from hypothesis import given
from hypothesis import strategies as st

from .examples import FIRST, KEYRING, OPERATION, OWN, SECOND, TIME, Stated, entries_of

SUBMITTED = Stated(TaskSubmitted.example())


def notary() -> Notary:
    return Notary(KEYRING, OWN)


def notarize(by: Notary, *facts: Stated, service: str = "gateway") -> list[NotarizedEntry]:
    """Return the entries of facts that are notarised in one go."""
    return entries_of(signed([draft for one in facts for draft in by.notarize(one.topic, one.key, one.value, service)]))


def keys(entries: list[NotarizedEntry]) -> list[OperationKey]:
    announced = [statement_of(entry).announced for entry in entries if entry.entry_type == KEY_ENTRY]
    return [key for key in announced if isinstance(key, OperationKey)]


def statement_of(entry: NotarizedEntry) -> Statement:
    _, statement = read_leaf(entry.leaf.encode())
    assert statement is not None
    return statement


def signers(entry: NotarizedEntry, known: dict[str, bytes]) -> list[str]:
    envelope = DsseEnvelope.parse(entry.leaf.encode())
    return verify_envelope(envelope, known, verifier_of(envelope))


def test_an_entry_states_the_six_ws_and_the_digest_signed_with_the_operations_key() -> None:
    key, entry = notarize(notary(), SUBMITTED)

    assert statement_of(entry) == Statement(
        id=str(SUBMITTED.id),
        type=TaskSubmitted.TYPE,
        service="gateway",
        actor="ada",
        subject_type="task",
        subject=SUBMITTED.event.partition_key,
        topic="grace.task.v1",
        key=SUBMITTED.event.partition_key,
        time=TIME.isoformat(),
        correlation_id=SUBMITTED.event.partition_key,
        causation_id=None,
        operation_id=str(OPERATION),
        digest=sha256(SUBMITTED.value).hexdigest(),
    )
    [announced] = keys([key])
    assert signers(entry, {announced.key_id: announced.public_key}) == [announced.key_id]
    assert (entry.payload or "").encode() == SUBMITTED.value
    assert entry.entry_id == SUBMITTED.id
    assert (entry.entry_type, entry.actor, entry.service) == (TaskSubmitted.TYPE, "ada", "gateway")
    assert (entry.operation_id, entry.time) == (OPERATION, TIME)


def test_the_key_of_an_operation_is_logged_before_its_first_entry_and_once() -> None:
    by = notary()

    first, second = notarize(by, SUBMITTED), notarize(by, Stated(TaskSubmitted.example(), id=uuid4()))

    assert [entry.entry_type for entry in first] == [KEY_ENTRY, TaskSubmitted.TYPE]
    assert [entry.entry_type for entry in second] == [TaskSubmitted.TYPE]
    assert keys(first) == [OperationKey(FIRST.operation_key(OPERATION).public_key, str(OPERATION), 1)]
    assert signers(first[0], {OWN.notary.key_id: OWN.notary.public_key})


def test_an_operation_that_outlives_its_epoch_gets_a_second_key() -> None:
    by = notary()
    late = Stated(TaskSubmitted.example(), id=uuid4(), time=SECOND.not_before)

    entries = notarize(by, SUBMITTED, late)

    assert [entry.entry_type == KEY_ENTRY for entry in entries] == [True, False, True, False]
    assert [key.epoch for key in keys(entries)] == [1, 2]
    assert entries[0].entry_id != entries[2].entry_id
    assert keys(entries)[1].public_key == SECOND.operation_key(OPERATION).public_key


def test_a_key_that_was_forgotten_is_announced_again_under_the_same_entry_id() -> None:
    by = Notary(KEYRING, OWN, remembered=1)
    first, _ = notarize(by, SUBMITTED)
    notarize(by, Stated(TaskSubmitted.example(), id=uuid4(), operation=uuid4()))

    again, _ = notarize(by, SUBMITTED)

    assert again == first


@given(st.uuids(), st.text(min_size=1, max_size=50).filter(lambda text: "\0" not in text), st.uuids())
def test_notarising_again_gives_the_same_bytes_whoever_does_it(id_: UUID, actor: str, operation: UUID) -> None:
    stated = Stated(TaskSubmitted.example(), id=id_, actor=actor, operation=operation)

    def values() -> list[bytes]:
        return signed(notary().notarize(stated.topic, stated.key, stated.value, "gateway"))

    assert values() == values()


@pytest.mark.parametrize("type_", sorted(t for t, event in event_types().items() if event.TOPIC.notarized))
def test_every_notarised_event_gets_an_entry_that_the_contract_opens(type_: str) -> None:
    stated = Stated(event_types()[type_].example())
    [writer, *_] = stated.event.TOPIC.writers

    [value] = signed(notary().notarize(stated.topic, stated.key, stated.value, writer))

    opened = envelope.open(value)
    assert orjson.loads(envelope.encode(opened)).keys() == orjson.loads(value).keys()
    assert (opened.source, opened.key) == ("/grace/crypto-signer", b"log")
    [entry] = [one for one in entries_of([value]) if one.entry_id == stated.id]
    assert statement_of(entry).digest == sha256(stated.value).hexdigest()


def test_what_an_entry_is_about_is_named() -> None:
    succeeded, policies = (
        statement_of(notarize(notary(), Stated(event))[-1])
        for event in (OperationSucceeded.example(), PoliciesPublished.example())
    )

    assert (succeeded.subject_type, succeeded.subject) == ("operation", str(OperationSucceeded.example().operation_id))
    assert (policies.subject_type, policies.subject) == ("round", "policies")


def test_the_own_keys_are_published_under_the_signature_of_the_ca() -> None:
    entries = entries_of(signed(notary().key_entries()))

    for entry, key, purpose in zip(entries, (OWN.notary, OWN.attestation), ("notary", "attestation"), strict=True):
        assert entry.entry_type == NotaryKeyPublished.TYPE
        assert signers(entry, {OWN.authority.key_id: OWN.authority.public_key})
        assert statement_of(entry).announced == PublishedKey(key.public_key, purpose)
    assert entries == entries_of(signed(notary().key_entries()))


def completed() -> Stated:
    return Stated(TaskCompleted.example().model_copy(update={"submitted_at": TIME}))


def recorded(**changes: object) -> Stated:
    example = ApprovalRecorded.example()
    digest = approval_digest(
        artifact=str(example.artifact_sha256), report=str(example.report_sha256), decision=str(example.decision_sha256)
    )
    return Stated(example.model_copy(update={"digest": digest} | changes), causation=uuid4())


def attested(stated: Stated) -> list[Attestation]:
    made = notarize(notary(), stated, service="mtl-orchestrator")
    entries = [entry for entry in made if entry.entry_type == ArtifactAttested.TYPE]
    envelopes = [DsseEnvelope.parse(entry.leaf.encode()) for entry in entries]
    assert all(verify_envelope(one, {OWN.attestation.key_id: OWN.attestation.public_key}) for one in envelopes)
    assert len({entry.entry_id for entry in entries}) == len(entries)
    return [Attestation.parse(one.payload) for one in envelopes]


def test_a_completed_task_is_attested_with_its_tests_and_authorship_and_last_with_its_provenance() -> None:
    tests, authorship, attestation = attested(completed())

    assert read_predicate(tests) == TestResult(
        configuration=(Subject("specification", "06" * 32), Subject("evaluation-report", "02" * 32)),
        passed=("e0: fibonacci(0) == 0",),
        warned=("a0: fibonacci(-1) == 1",),
    )
    task_id, candidate_id = TaskCompleted.example().task_id, TaskCompleted.example().candidate_id
    assert read_predicate(authorship) == Authorship(
        generator="openai:qwen3",
        model="qwen3",
        strategy="side-by-side@1",
        prompts=(Prompt("system", "04" * 32), Prompt("user", "05" * 32)),
        invocation_id=f"urn:uuid:{task_id}",
        candidate=str(candidate_id),
    )
    assert attestation.predicate_type == PROVENANCE
    [subject] = attestation.subjects
    assert (subject.name, subject.sha256) == ("fibonacci.py", "01" * 32)
    build = attestation.predicate["buildDefinition"]
    assert build["externalParameters"]["requester"] == "ada"
    assert build["internalParameters"]["generator"] == "openai:qwen3"
    assert attestation.predicate["runDetails"]["metadata"]["startedOn"] == "2026-11-22T12:00:00Z"


def test_an_approval_that_counts_is_attested_as_a_review_of_the_digests() -> None:
    stated = recorded()

    [attestation] = attested(stated)

    assert attestation.predicate_type == REVIEW
    assert attestation.predicate["approved"] == {"artifact": "01" * 32, "decision": "03" * 32, "report": "02" * 32}
    assert attestation.predicate["event_id"] == str(stated.causation)
    assert (attestation.predicate["reviewer"], attestation.predicate["role"]) == ("grace", "reviewer")
    assert attestation.predicate["policy"] == {"name": "approval", "version": 1}


def test_a_delivery_that_says_nothing_of_tests_and_authors_has_its_provenance_alone() -> None:
    older = TaskCompleted.example().model_copy(update={"outcomes": None, "authorship": None})

    assert [one.predicate_type for one in attested(Stated(older))] == [PROVENANCE]


@pytest.mark.parametrize(
    "changes", [{"digest": "ab" * 32}, {"role": None}, {"entry_point": None}, {"policy": "whatever"}]
)
def test_an_approval_that_does_not_hold_together_is_notarised_and_not_attested(changes: dict[str, object]) -> None:
    entries = notarize(notary(), recorded(**changes), service="mtl-orchestrator")

    assert [entry.entry_type for entry in entries] == [KEY_ENTRY, ApprovalRecorded.TYPE]


def malformed(**attributes: object) -> bytes:
    return orjson.dumps(orjson.loads(SUBMITTED.value) | attributes)


@pytest.mark.parametrize(
    "value",
    [
        b"not json",
        b"[1]",
        b"{}",
        malformed(id="no id"),
        malformed(time="2026-11-22T00:00:00"),
        malformed(time="20261122T000000+00:00"),
        malformed(time=7),
        malformed(specversion="0.3"),
        malformed(data=[]),
        malformed(actor=""),
        malformed(actor="a\0b"),
        malformed(correlationid=None),
        malformed(causationid=7),
        malformed(actor="a" * envelope.MAX_ENVELOPE_BYTES),
    ],
)
def test_what_is_no_envelope_is_not_signed(value: bytes) -> None:
    with pytest.raises(Refused):
        notary().notarize(topics.TASK.name, b"task", value, "gateway")


@pytest.mark.parametrize("key", [b"", b"\xff"])
def test_a_record_without_a_readable_key_is_not_signed(key: bytes) -> None:
    with pytest.raises(Refused, match="key"):
        notary().notarize(topics.TASK.name, key, SUBMITTED.value, "gateway")


def test_a_stranger_verifies_the_receipt_that_these_entries_make() -> None:
    code = TaskCompleted.example().code.encode()
    digests = {"artifact": sha256(code).hexdigest(), "report": "02" * 32, "decision": "03" * 32}
    digest = approval_digest(**digests)
    approval = Stated(ApprovalGiven.example().model_copy(update={"digest": digest}), id=uuid4(), actor="grace")
    counted = recorded(artifact_sha256=digests["artifact"], digest=digest)
    counted = Stated(counted.event, id=uuid4(), causation=approval.id, actor="grace")
    done = Stated(TaskCompleted.example().model_copy(update={"artifact_sha256": digests["artifact"]}), id=uuid4())
    by, log = notary(), MemoryLog(extensions=(ca_extension(OWN.authority.public_key),))
    drafts = [*by.key_entries()]
    for stated, service in ((approval, "gateway"), (counted, "mtl-orchestrator"), (done, "mtl-orchestrator")):
        drafts += by.notarize(stated.topic, stated.key, stated.value, service)
    entries = entries_of(signed(drafts))
    indices = [log.append(entry.leaf.encode()) for entry in entries]
    payloads = {
        index: entry.payload.encode()
        for index, entry in zip(indices, entries, strict=True)
        if entry.entry_id == approval.id and entry.payload is not None
    }
    checkpoint = log.publish()

    receipt = make_receipt(
        "fibonacci.py", code, indices, log.tree(), checkpoint, [OWN.authority.public_key], payloads
    ).encode()
    findings = verify_receipt(receipt, code, str(log.key))

    assert [proven.attestation.predicate_type for proven in findings.attestations] == [
        REVIEW,
        TEST_RESULT,
        AUTHORSHIP,
        PROVENANCE,
    ]
    [review] = findings.reviews
    assert (review.reviewer, review.approval_digest) == ("grace", digest)
    assert FIRST.operation_key(OPERATION).key_id in {proven.key_id for proven in findings.statements}
