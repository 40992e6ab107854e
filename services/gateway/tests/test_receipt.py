"""Receipts and proofs from the published log: what a stranger can check, and nothing before it can be checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import httpx
import pytest
from grace_common.contract.events.round import TaskCompleted
from grace_common.testing.ledger import TIME, MemoryLedger, SeededKey
from grace_common.transparency.attestation import Provenance, Review, Subject
from grace_common.transparency.directory import KeyDirectory, digest_of
from grace_common.transparency.note import SignatureType
from grace_common.transparency.receipt import ReceiptRejected, verify_receipt
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED
from grace_common.transparency.strict import compact_json, decode_base64
from grace_common.transparency.witness import open_signed

SUBMIT, APPROVE, COMPLETE = UUID(int=0xA1), UUID(int=0xA2), UUID(int=0xA3)
APPROVAL = UUID(int=0xB1)
CODE = "def double(n):\n    return 2 * n\n"


@dataclass
class Sealed:
    """A task's entries in a small ledger, and the same in the read model."""

    gateway: Any
    task_id: str
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def add(self, index: int, entry_type: str, operation: UUID, entry_id: UUID | None = None) -> None:
        self.gateway.views.entries.append(
            {
                "index": index,
                "entry_id": entry_id or UUID(int=index + 1),
                "entry_type": entry_type,
                "operation_id": operation,
                "correlation": "keys" if entry_type == "grace.notary-key-published.v1" else self.task_id,
                "actor": "ada",
                "service": "gateway",
                "time": TIME,
            }
        )

    def key(self, operation: UUID) -> None:
        self.add(self.ledger.announce(str(operation)), "grace.operation-key-generated.v1", operation)

    def fact(self, type_: str, operation: UUID, id_: UUID, payload: bytes) -> None:
        self.key(operation)
        index = self.ledger.state(str(id_), type_, "rita", str(operation), payload)
        self.add(index, type_, operation, id_)

    def replace_ca(self) -> None:
        first = len(self.ledger.log.entries)
        self.ledger.replace_ca("next")
        for index in range(first, len(self.ledger.log.entries)):
            self.add(index, "grace.notary-key-published.v1", UUID(int=0xC1))

    def seal_life(self, *, reviewed: bool = True, then: Callable[[], None] = lambda: None) -> None:
        """Seal what becomes of a task; `then` happens in the midst of it."""
        signer = UUID(int=0xC1)
        self.add(self.ledger.publish_key(self.ledger.notary, "notary"), "grace.notary-key-published.v1", signer)
        self.add(self.ledger.publish_key(self.ledger.attester, "attestation"), "grace.notary-key-published.v1", signer)
        self.fact("grace.task-submitted.v1", SUBMIT, UUID(self.task_id), b"{}")
        then()
        digest = sha256(CODE.encode()).hexdigest()
        review = Review("rita", "reviewer", "approval@1", digest, "1" * 64, "2" * 64, str(APPROVAL), TIME)
        approval = compact_json({"id": str(APPROVAL), "data": {"by": "rita", "digest": review.approval_digest}})
        self.gateway.views.records[APPROVAL] = approval
        self.fact("grace.approval-given.v1", APPROVE, APPROVAL, approval)
        self.fact("grace.task-completed.v1", COMPLETE, UUID(int=0xB2), b"{}")
        subject = Subject("double.py", digest)
        other = Subject("other.py", "3" * 64)
        provenance = Provenance("urn:b", "urn:g", self.task_id, TIME, TIME, {}, {}, ())
        attested = [provenance.of(subject), provenance.of(other)] + ([review.of(subject)] if reviewed else [])
        for attestation in attested:
            self.add(self.ledger.attest(attestation), "grace.artifact-attested.v1", signer)

    def list_keys(self, directory: KeyDirectory, *more: SeededKey) -> bytes:
        """Publish a version of the key directory; return it signed."""
        operation = UUID(int=0xD0 + directory.version)
        (key, index), signed = self.ledger.publish_directory(directory, *more)
        self.add(key, "grace.operation-key-generated.v1", operation)
        self.add(index, "grace.key-directory-published.v1", operation)
        return signed

    def publish(self) -> None:
        self.ledger.log.publish()
        self.gateway.publication.files |= self.ledger.log.files


@pytest.fixture
async def sealed(gateway: Any, ada: httpx.AsyncClient) -> Sealed:
    task_id = (await ada.post("/api/tasks", json={"requirements": "Double"})).json()["id"]
    completed = TaskCompleted.example().model_copy(
        update={
            "task_id": UUID(task_id),
            "code": CODE,
            "artifact_sha256": sha256(CODE.encode()).hexdigest(),
            "approved_by": ("rita",),
        }
    )
    gateway.happened(completed)
    return Sealed(gateway, task_id)


async def test_a_receipt_verifies_offline_with_the_logs_key_alone(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.seal_life()
    sealed.publish()

    answer = await ada.get(f"/api/tasks/{sealed.task_id}/receipt")

    findings = verify_receipt(answer.content, CODE.encode(), str(sealed.ledger.log.key))
    assert [review.reviewer for review in findings.reviews] == ["rita"]
    assert len(findings.attestations) == 2


@pytest.mark.parametrize("listed", [True, False])
async def test_a_receipt_of_work_before_the_ca_was_replaced_shows_the_keys_of_then_alone(
    sealed: Sealed, ada: httpx.AsyncClient, listed: bool
) -> None:
    sealed.seal_life()
    first, earlier = sealed.ledger.ca.public_key, sealed.ledger.directory().keys
    sealed.replace_ca()
    if listed:
        now = sealed.ledger.directory()
        sealed.list_keys(replace(now, keys=(*now.keys, *(key for key in earlier if key not in now.keys))))

    receipt = await receipt_of(sealed, ada)

    findings = verify_receipt(receipt, CODE.encode(), str(sealed.ledger.log.key))
    # The directory's own entry was announced by the notary of now, which the CA of now published.
    assert findings.receipt.ca_keys == ((sealed.ledger.ca.public_key, first) if listed else (first,))
    assert (findings.directory is not None) == listed


async def test_where_two_cas_stand_behind_a_receipt_it_waits_for_a_key_directory_that_lists_both(
    sealed: Sealed, ada: httpx.AsyncClient
) -> None:
    sealed.seal_life(then=sealed.replace_ca)
    sealed.list_keys(sealed.ledger.directory())
    sealed.publish()

    answer = await ada.get(f"/api/tasks/{sealed.task_id}/receipt")

    assert answer.status_code == 503
    assert "the receipt needs the key directory, which does not list all keys yet" in answer.json()["detail"]


async def receipt_of(sealed: Sealed, ada: httpx.AsyncClient) -> bytes:
    sealed.publish()
    return (await ada.get(f"/api/tasks/{sealed.task_id}/receipt")).content


async def test_a_receipt_shows_the_newest_key_directory_in_the_log(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.seal_life()
    directory = sealed.ledger.directory()
    signed = sealed.list_keys(directory)
    sealed.list_keys(replace(directory, version=2, previous=digest_of(signed)))

    receipt = await receipt_of(sealed, ada)

    findings = verify_receipt(
        receipt, CODE.encode(), str(sealed.ledger.log.key), root_key=sealed.ledger.root.public_key
    )
    assert (findings.directory and findings.directory.directory.version) == 2
    shown = [one for one in findings.statements if one.statement.type == KEY_DIRECTORY_PUBLISHED]
    assert [one.statement.subject for one in shown] == ["2"]


async def test_a_receipt_shows_every_change_of_the_root(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.seal_life()
    directory, old, new = sealed.ledger.directory(), sealed.ledger.root, SeededKey("another root")
    signed = sealed.list_keys(directory)
    sealed.ledger.root = new
    moved = replace(directory, version=2, previous=digest_of(signed), root=new.public_key)
    signed = sealed.list_keys(moved, old)
    sealed.list_keys(replace(moved, version=3, previous=digest_of(signed)))

    receipt = await receipt_of(sealed, ada)

    for root in (old, new):
        findings = verify_receipt(receipt, CODE.encode(), str(sealed.ledger.log.key), root_key=root.public_key)
        assert (findings.directory and findings.directory.directory.version) == 3
    with pytest.raises(ReceiptRejected, match="not signed by the root that you named"):
        verify_receipt(receipt, CODE.encode(), str(sealed.ledger.log.key), root_key=SeededKey("x").public_key)


@pytest.mark.parametrize("lack", ["no file", "another file", "no key", "not in the tree", "a key unlisted"])
async def test_a_receipt_that_no_key_directory_stands_behind_names_none(
    sealed: Sealed, ada: httpx.AsyncClient, lack: str
) -> None:
    sealed.seal_life()
    directory = sealed.ledger.directory()
    if lack == "a key unlisted":
        directory = replace(directory, keys=directory.keys[1:])
    if lack == "not in the tree":
        sealed.publish()
        sealed.list_keys(directory)
        sealed.gateway.publication.files["keys/0001.json"] = sealed.ledger.log.files["keys/0001.json"]
        receipt = (await ada.get(f"/api/tasks/{sealed.task_id}/receipt")).content
    else:
        sealed.list_keys(directory)
        if lack == "no key":
            del sealed.gateway.views.entries[-2]
        files = sealed.ledger.log.files
        if lack == "no file":
            del files["keys/0001.json"]
        if lack == "another file":
            files["keys/0001.json"] += b" "
        receipt = await receipt_of(sealed, ada)

    findings = verify_receipt(receipt, CODE.encode(), str(sealed.ledger.log.key))
    assert findings.directory is None
    assert json.loads(receipt)["format"] == "grace-receipt/v1"


async def test_a_receipt_carries_the_cosignature_of_the_witness_where_there_is_one(
    sealed: Sealed, ada: httpx.AsyncClient
) -> None:
    sealed.seal_life()
    sealed.publish()
    log, witness = sealed.ledger.log, SeededKey("witness")
    key = witness.named("grace.local/witness", SignatureType.COSIGNATURE)
    signed = open_signed(log.files["checkpoint"], [log.key])
    _, cosigned = signed.cosigned(key, witness.sign, 1_700_000_000)
    sealed.gateway.publication.files["checkpoint.cosigned"] = cosigned.encode()
    log.append(b"of another task")
    sealed.publish()

    answer = await ada.get(f"/api/tasks/{sealed.task_id}/receipt")

    findings = verify_receipt(answer.content, CODE.encode(), str(log.key), [str(key)], quorum=1)
    assert findings.checkpoint.checkpoint == signed.checkpoint


async def test_a_receipt_does_not_depend_on_a_witness_that_has_stopped(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.publish()
    sealed.gateway.publication.files["checkpoint.cosigned"] = sealed.ledger.log.files["checkpoint"]
    sealed.seal_life()
    sealed.publish()

    answer = await ada.get(f"/api/tasks/{sealed.task_id}/receipt")

    assert verify_receipt(answer.content, CODE.encode(), str(sealed.ledger.log.key)).checkpoint.checkpoint.size > 0


async def test_there_is_no_receipt_before_everything_is_sealed(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    path = f"/api/tasks/{sealed.task_id}/receipt"
    unpublished = await ada.get(path)
    sealed.seal_life(reviewed=False)
    sealed.publish()
    unreviewed = await ada.get(path)

    assert [answer.status_code for answer in (unpublished, unreviewed)] == [409, 409]
    assert unreviewed.headers["retry-after"] == "1"
    assert "published nothing yet" in unpublished.json()["detail"]
    assert "not sealed everything" in unreviewed.json()["detail"]


async def test_entries_beyond_the_published_tree_do_not_count(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.publish()
    sealed.seal_life()

    assert (await ada.get(f"/api/tasks/{sealed.task_id}/receipt")).status_code == 409


async def test_a_receipt_that_would_not_verify_is_not_handed_out(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.seal_life()
    sealed.publish()
    sealed.gateway.views.records.clear()

    answer = await ada.get(f"/api/tasks/{sealed.task_id}/receipt")

    assert (answer.status_code, "does not verify" in answer.json()["detail"]) == (503, True)


async def test_a_task_that_has_not_completed_has_no_receipt_yet(ada: httpx.AsyncClient) -> None:
    task_id = (await ada.post("/api/tasks", json={"requirements": "Triple"})).json()["id"]

    answer = await ada.get(f"/api/tasks/{task_id}/receipt")

    assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")


async def test_the_checkpoint_is_shown_with_its_signed_note(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    early = await ada.get("/api/ledger/checkpoint")
    sealed.seal_life()
    sealed.publish()

    shown = (await ada.get("/api/ledger/checkpoint")).json()

    assert early.status_code == 503
    assert (shown["tree_size"], shown["note"].encode()) == (
        len(sealed.ledger.log.entries),
        sealed.ledger.log.files["checkpoint"],
    )


async def test_an_entry_comes_with_its_leaf_and_inclusion_proof(
    sealed: Sealed, ada: httpx.AsyncClient, otto: httpx.AsyncClient
) -> None:
    sealed.seal_life()
    sealed.publish()

    entry = (await otto.get("/api/ledger/entries/3")).json()
    attestation = (await otto.get(f"/api/ledger/entries/{len(sealed.ledger.log.entries) - 1}")).json()

    assert decode_base64(entry["leaf"], "leaf") == sealed.ledger.log.entries[3]
    assert entry["statement"]["type"] == "grace.task-submitted.v1"
    assert len(entry["inclusion_proof"]) >= 3
    assert attestation["statement"] is None
    assert (await otto.get("/api/ledger/entries/99")).status_code == 404
    assert (await ada.get("/api/ledger/entries/3")).status_code == 403


async def test_one_tree_is_proven_to_extend_another(sealed: Sealed, ada: httpx.AsyncClient) -> None:
    sealed.seal_life()
    sealed.publish()
    size = len(sealed.ledger.log.entries)

    whole = (await ada.get(f"/api/ledger/proof/consistency?from=3&to={size}")).json()
    part = (await ada.get("/api/ledger/proof/consistency?from=3&to=5")).json()

    tree = sealed.ledger.log.tree()
    assert [decode_base64(digest, "hash") for digest in whole["proof"]] == tree.consistency_proof(3)
    assert decode_base64(part["to_root"], "root") == tree.root_at(5)
    for query in ("from=5&to=3", f"from=1&to={size + 1}", "from=0&to=1"):
        assert (await ada.get(f"/api/ledger/proof/consistency?{query}")).status_code == 422


async def test_receipts_go_on_across_a_change_of_the_logs_key_and_hold_with_the_keys_that_signed(
    sealed: Sealed, ada: httpx.AsyncClient
) -> None:
    log, files = sealed.ledger.log, sealed.gateway.publication.files
    sealed.seal_life()
    first = sealed.ledger.directory()
    one = sealed.list_keys(first)
    before, old = await receipt_of(sealed, ada), str(log.key)

    successor = SeededKey("successor")
    log.succeed(successor)
    new = str(log.key)
    two = sealed.list_keys(replace(sealed.ledger.directory(), version=2, previous=digest_of(one)))
    sealed.publish()
    files["vkey"] = f"{old}\n".encode()  # until the witness has seen what both signed
    meanwhile = (await ada.get(f"/api/tasks/{sealed.task_id}/receipt")).content
    files["vkey"] = f"{new}\n".encode()
    during = (await ada.get(f"/api/tasks/{sealed.task_id}/receipt")).content

    ended = tuple(
        replace(key, not_after=TIME) if key.purpose == "log" and key.public_key != successor.public_key else key
        for key in sealed.ledger.directory().keys
    )
    log.retire()
    sealed.list_keys(replace(first, version=3, previous=digest_of(two), keys=ended))
    after = await receipt_of(sealed, ada)

    for receipt, vkeys, version in (
        (before, [old], 1),
        (meanwhile, [old, new], 2),
        (during, [old, new], 2),
        (after, [new], 3),
    ):
        for vkey in vkeys:
            found = verify_receipt(receipt, CODE.encode(), vkey, root_key=sealed.ledger.root.public_key)
            assert (found.directory and found.directory.directory.version) == version
