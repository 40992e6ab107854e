"""The receipt: one file by which a stranger, with the log's public key alone, checks what was done to an artifact.

`make_receipt` puts it together from the log's static files; `verify_receipt` checks it without network or services.
Of two formats: grace-receipt/v2 shows the key directory that stands behind its keys, v1 shows none.
The rules, for those who write their own verifier: docs/receipt-format.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from grace_common.contract.errors import Refused
from grace_common.transparency import attestation, merkle, statement
from grace_common.transparency.attestation import Attestation, Predicate, Review, read_predicate
from grace_common.transparency.checkpoint import Checkpoint, VerifiedCheckpoint, open_checkpoint
from grace_common.transparency.directory import KeyPurpose
from grace_common.transparency.directory_proof import ProvenDirectory, ShownDirectory, Use, prove_directory, time_of
from grace_common.transparency.dsse import DsseEnvelope, verify_envelope
from grace_common.transparency.ed25519 import PUBLIC_KEY_BYTES
from grace_common.transparency.merkle import HASH_BYTES
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.policy import Policy
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED, OperationKey, PublishedKey, Statement, key_id
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    decode_base64,
    encode_base64,
    parse_json,
    read_list,
    read_number,
    read_object,
    read_sha256,
    read_string,
)
from grace_common.transparency.tile import TreeReader

FORMAT_V1: Final = "grace-receipt/v1"
FORMAT: Final = "grace-receipt/v2"
_LATEST_S: Final = 253_402_300_799  # the last second of the year 9999
_NO_DIRECTORY: Final = "No version of the key directory stands behind these keys: the log alone vouches for them."
APPROVAL: Final = "grace.approval-given.v"  # of any version: what is read of it has one meaning in all
_KINDS: Final = {
    attestation.PROVENANCE: "its provenance",
    attestation.TEST_RESULT: "its test results",
    attestation.AUTHORSHIP: "its authorship",
    attestation.REVIEW: "its review",
    attestation.REVIEW_V1: "its review",
}


class ReceiptRejected(Refused):
    """The receipt does not prove what it claims; the message is the first reason found."""


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """One entry of the ledger: its index, its exact leaf bytes, and the inclusion proof.

    payload  the exact value bytes of the record that the statement is about; None where only its digest is shown
    """

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    payload: bytes | None = None

    def as_object(self) -> dict[str, Any]:
        """Return the entry as the JSON object that the receipt holds."""
        members: dict[str, Any] = {
            "index": self.index,
            "leaf": encode_base64(self.leaf),
            "proof": [encode_base64(digest) for digest in self.proof],
        }
        return members if self.payload is None else {**members, "payload": encode_base64(self.payload)}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the file holds.

    artifact_name, artifact_sha256, artifact_size   the artifact, size in bytes
    attestations   DSSE envelopes of in-toto statements; each is also the leaf of an entry
    entries        in ascending order of index; keys stand before what they signed
    ca_keys        32 raw bytes each; worth nothing unless the checkpoint names their digests
    checkpoint     the signed note
    directory      version of the key directory that stands behind the keys; None in the first format
    """

    artifact_name: str
    artifact_sha256: str
    artifact_size: int
    attestations: tuple[DsseEnvelope, ...]
    entries: tuple[ReceiptEntry, ...]
    ca_keys: tuple[bytes, ...]
    checkpoint: bytes
    directory: int | None = None

    def __post_init__(self) -> None:
        most = 1 if self.directory is None else len(set(self.ca_keys))
        if not 1 <= len(self.ca_keys) <= most:
            raise Malformed(f"keys.ca holds {len(self.ca_keys)} keys; expected 1 to {most}, each once")

    def encode(self) -> bytes:
        """Return the file's bytes: compact JSON, of the first format where there is no key directory."""
        authorities = [encode_base64(key) for key in self.ca_keys]
        return compact_json(
            {
                "format": FORMAT_V1 if self.directory is None else FORMAT,
                "artifact": {
                    "name": self.artifact_name,
                    "sha256": self.artifact_sha256,
                    "size": self.artifact_size,
                },
                "attestations": [envelope.as_object() for envelope in self.attestations],
                "entries": [entry.as_object() for entry in self.entries],
                "keys": {"ca": authorities[0]}
                if self.directory is None
                else {"ca": authorities, "directory": self.directory},
                "checkpoint": self.checkpoint.decode("utf-8"),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> "Receipt":
        """Return the receipt of these bytes, of which nothing is verified yet; raises Malformed."""
        required = ("format", "artifact", "attestations", "entries", "keys", "checkpoint")
        whole = parse_json(data, "the receipt")
        if isinstance(whole, dict) and whole.get("format") not in (FORMAT_V1, FORMAT):
            raise Malformed(f"the receipt is of format {whole.get('format')!r}; expected {FORMAT} or {FORMAT_V1}")
        members = read_object(whole, "the receipt", required)
        artifact = read_object(members["artifact"], "artifact", ("name", "sha256", "size"))
        authorities, directory = _parse_keys(members["keys"], members["format"])
        return cls(
            artifact_name=read_string(artifact["name"], "artifact.name"),
            artifact_sha256=read_sha256(artifact["sha256"], "artifact.sha256"),
            artifact_size=read_number(artifact["size"], "artifact.size"),
            attestations=tuple(
                _parse_attestation(*each) for each in enumerate(read_list(members["attestations"], "attestations"))
            ),
            entries=tuple(_parse_entry(*each) for each in enumerate(read_list(members["entries"], "entries"))),
            ca_keys=authorities,
            checkpoint=read_string(members["checkpoint"], "checkpoint").encode(),
            directory=directory,
        )


def _parse_keys(value: Any, format_: str) -> tuple[tuple[bytes, ...], int | None]:
    """Return the CA's keys and the version of the key directory, which the first format has not."""
    if format_ == FORMAT_V1:
        listed, directory = [read_object(value, "keys", ("ca",))["ca"]], None
    else:
        keys = read_object(value, "keys", ("ca", "directory"))
        listed, directory = read_list(keys["ca"], "keys.ca"), read_number(keys["directory"], "keys.directory")
    return tuple(decode_base64(read_string(key, "keys.ca"), "keys.ca", PUBLIC_KEY_BYTES) for key in listed), directory


def _parse_attestation(number: int, value: Any) -> DsseEnvelope:
    try:
        return DsseEnvelope.of_object(value)
    except Malformed as error:
        raise Malformed(f"attestations[{number}]: {error}") from error


def _parse_entry(number: int, value: Any) -> ReceiptEntry:
    where = f"entries[{number}]"
    entry = read_object(value, where, ("index", "leaf", "proof"), ("payload",))
    leaf = decode_base64(read_string(entry["leaf"], f"{where}.leaf"), f"{where}.leaf")
    proof = [
        decode_base64(read_string(digest, f"a hash of {where}.proof"), f"a hash of {where}.proof", HASH_BYTES)
        for digest in read_list(entry["proof"], f"{where}.proof")
    ]
    payload = None
    if "payload" in entry:
        payload = decode_base64(read_string(entry["payload"], f"{where}.payload"), f"{where}.payload")
    return ReceiptEntry(read_number(entry["index"], f"{where}.index"), leaf, tuple(proof), payload)


def make_receipt(
    artifact_name: str,
    artifact: bytes,
    indices: Iterable[int],
    tree: TreeReader,
    checkpoint: bytes,
    ca_keys: Sequence[bytes],
    payloads: Mapping[int, bytes] = MappingProxyType({}),
    directory: int | None = None,
) -> Receipt:
    """Return the receipt of an artifact, its entries and proofs read from the log's tiles.

    artifact_name  as the attestation's subject names it
    indices        of the entries it needs: the attestations, the statements worth showing, and the keys of both
    tree           the tree of the checkpoint
    checkpoint     the signed note
    ca_keys        32 raw bytes each; those that signed one of the entries are shown
    payloads       the records to show, by the index of their statement; those of approvals are needed for reviews,
                   those of the key directory for `directory`, its version
    raises         Unready for missing tiles, ProofInvalid for wrong ones, Refused for an index outside the log
    """
    entries = tuple(
        ReceiptEntry(index, tree.entry(index), tuple(tree.inclusion_proof(index)), payloads.get(index))
        for index in sorted({*indices, *payloads})
    )
    envelopes = [DsseEnvelope.parse(entry.leaf) for entry in entries]
    signers = {signer for envelope in envelopes for signer in envelope.key_ids}
    return Receipt(
        artifact_name=artifact_name,
        artifact_sha256=sha256(artifact).hexdigest(),
        artifact_size=len(artifact),
        attestations=tuple(each for each in envelopes if each.payload_type == attestation.PAYLOAD_TYPE),
        entries=entries,
        ca_keys=tuple(key for key in ca_keys if key_id(key) in signers),
        checkpoint=checkpoint,
        directory=directory,
    )


@dataclass(frozen=True, slots=True)
class ProvenStatement:
    """A statement of the ledger with its place and the key that signed it."""

    index: int
    key_id: str
    statement: Statement
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class ProvenAttestation:
    """An attestation of the artifact with its place in the ledger and the key that signed it.

    said  what its predicate says; None for a predicate of a type not known here
    """

    index: int
    key_id: str
    attestation: Attestation
    said: Predicate | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a receipt proves; `sentences` says it in words."""

    receipt: Receipt
    checkpoint: VerifiedCheckpoint
    attestations: tuple[ProvenAttestation, ...]
    statements: tuple[ProvenStatement, ...]
    reviews: tuple[Review, ...]
    directory: ProvenDirectory | None

    @property
    def sentences(self) -> list[str]:
        """What is proven and by whom, one sentence each."""
        receipt, tree = self.receipt, self.checkpoint.checkpoint
        said = [
            f"The log {tree.origin} signed a tree of {tree.size} entries with root {tree.root.hex()}.",
            *[f"The witness {each.name} saw that tree at {each.time_s} s." for each in self.checkpoint.cosigners],
            *[f"The log names the CA whose key has the id {key_id(key)}." for key in receipt.ca_keys],
            f"The file is {receipt.artifact_name}: {receipt.artifact_size} bytes, SHA-256 {receipt.artifact_sha256}.",
            _NO_DIRECTORY if self.directory is None else self.directory.sentence,
        ]
        for proven in self.attestations:
            type_ = proven.attestation.predicate_type
            kind = _KINDS.get(type_, f"the predicate {type_} of it")
            said.append(f"Entry {proven.index} attests {kind}, signed with the attestation key {proven.key_id}.")
            said += [proven.said.sentence] if proven.said else []
        for each in self.statements:
            fact = each.statement
            signer = {
                statement.NOTARY_KEY_PUBLISHED: "the CA",
                statement.OPERATION_KEY_GENERATED: "the notary",
            }.get(fact.type, f"the key of operation {fact.operation_id}")
            said.append(
                f"Entry {each.index} states {fact.type} about {fact.subject_type} {fact.subject} by {fact.actor} "
                f"through {fact.service} at {fact.time}, signed by {signer}."
            )
        return [_printable(sentence) for sentence in said]


def _printable(text: str) -> str:
    """Return the text without line breaks and the like, by which a name could pass for a sentence of its own."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


@dataclass
class _KeyChain:
    """The keys announced so far, by id; entries are read in the ledger's order, so a key must precede its use."""

    ca: dict[str, bytes]
    published: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by purpose and key id
    operations: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by operation id and key id

    def may_sign(self, fact: Statement | None) -> dict[str, bytes]:
        """Return the keys whose signature makes this statement, or an attestation (None), worth believing."""
        if fact is None:
            return _of(self.published, "attestation")
        if isinstance(fact.announced, PublishedKey):
            return self.ca
        if isinstance(fact.announced, OperationKey):
            return _of(self.published, "notary")
        return _of(self.operations, fact.operation_id)

    def learn(self, fact: Statement) -> None:
        """Take in the key that a verified statement announces, if any."""
        if isinstance(fact.announced, PublishedKey):
            self.published[fact.announced.purpose, fact.announced.key_id] = fact.announced.public_key
        elif isinstance(fact.announced, OperationKey):
            self.operations[fact.announced.operation_id, fact.announced.key_id] = fact.announced.public_key


def _of(keys: dict[tuple[str, str], bytes], owner: str) -> dict[str, bytes]:
    return {name: public_key for (whose, name), public_key in keys.items() if whose == owner}


def verify_receipt(
    receipt: bytes,
    artifact: bytes,
    log_vkey: str,
    witness_vkeys: Sequence[str] = (),
    quorum: int = 0,
    policy: Policy | None = None,
    root_key: bytes | None = None,
) -> Findings:
    """Return what a receipt proves of an artifact to someone who trusts the log's key and nothing else.

    receipt        the file's bytes
    artifact       the bytes of the file that the receipt is for
    log_vkey       the log's public key, from elsewhere than the receipt
    witness_vkeys  keys of witnesses (type 04), of which `quorum` must have cosigned the checkpoint
    policy         which the checkpoint must satisfy besides
    root_key       32 raw bytes of the root that must stand behind the keys, from elsewhere than the receipt
    raises         ReceiptRejected with the first reason found
    """
    try:
        witnesses = [VerifierKey.parse(vkey) for vkey in witness_vkeys]
        opened = Receipt.parse(receipt)
        log_key = VerifierKey.parse(log_vkey)
        checkpoint = open_checkpoint(opened.checkpoint, log_key, witnesses, quorum)
        if policy is not None:
            checkpoint = policy.open(opened.checkpoint, log_key)
        return _verify(opened, artifact, checkpoint, log_key, root_key)
    except ReceiptRejected:
        raise
    except Refused as error:
        raise ReceiptRejected(str(error)) from error


def _verify(
    receipt: Receipt, artifact: bytes, checkpoint: VerifiedCheckpoint, log_key: VerifierKey, root_key: bytes | None
) -> Findings:
    _check_artifact(receipt, artifact)
    if not all(checkpoint.checkpoint.names_ca(key) for key in receipt.ca_keys):
        raise ReceiptRejected("the checkpoint does not name the receipt's CA key")
    attestations, statements = _walk(receipt, checkpoint.checkpoint)
    for proven in attestations:
        names = [each.name for each in proven.attestation.subjects if each.sha256 == receipt.artifact_sha256]
        if receipt.artifact_name not in names:
            raise ReceiptRejected(f"the attestation at entry {proven.index} is of another artifact")
    if not attestations:
        raise ReceiptRejected("the receipt attests nothing of the artifact")
    reviews = tuple(
        _supported(proven.index, proven.said, statements, receipt.artifact_sha256)
        for proven in attestations
        if isinstance(proven.said, Review)
    )
    directory = None
    if receipt.directory is not None:
        directory = _directory(receipt.directory, checkpoint, log_key, root_key, attestations, statements)
    elif root_key is not None:
        raise ReceiptRejected("the receipt shows no key directory, so no root stands behind its keys")
    return Findings(receipt, checkpoint, tuple(attestations), tuple(statements), reviews, directory)


def _directory(
    version: int,
    checkpoint: VerifiedCheckpoint,
    log_key: VerifierKey,
    root_key: bytes | None,
    attestations: Sequence[ProvenAttestation],
    statements: Sequence[ProvenStatement],
) -> ProvenDirectory:
    """Return the key directory, once it stands behind every key that the receipt rests on."""
    uses = [Use("attestation", each.key_id, each.index) for each in attestations]
    signers: dict[str, KeyPurpose] = {
        statement.NOTARY_KEY_PUBLISHED: "ca",
        statement.OPERATION_KEY_GENERATED: "notary",
    }
    uses += [
        Use(signers[each.statement.type], each.key_id, each.index)
        for each in statements
        if each.statement.type in signers
    ]
    shown = [
        ShownDirectory(each.index, each.statement.subject, each.payload)
        for each in statements
        if each.statement.type == KEY_DIRECTORY_PUBLISHED and each.payload is not None
    ]
    times = [time_of(each.statement.time) for each in statements]
    times += [datetime.fromtimestamp(min(each.time_s, _LATEST_S), UTC) for each in checkpoint.cosigners]
    proven = prove_directory(shown, version, root_key)
    proven.must_list(uses, log_key, max(times))
    return proven


def _check_artifact(receipt: Receipt, artifact: bytes) -> None:
    digest = sha256(artifact).hexdigest()
    if digest != receipt.artifact_sha256 or len(artifact) != receipt.artifact_size:
        raise ReceiptRejected(
            f"the file has {len(artifact)} bytes and SHA-256 {digest}; "
            f"the receipt is for {receipt.artifact_size} bytes and {receipt.artifact_sha256}"
        )


def _walk(receipt: Receipt, tree: Checkpoint) -> tuple[list[ProvenAttestation], list[ProvenStatement]]:
    """Return what the entries say, each proven to be in the tree and signed by a key that an earlier one announced."""
    chain = _KeyChain(ca={key_id(key): key for key in receipt.ca_keys})
    attestations: list[ProvenAttestation] = []
    statements: list[ProvenStatement] = []
    logged: list[tuple[int, DsseEnvelope]] = []
    last = -1
    for entry in receipt.entries:
        if entry.index <= last:
            raise ReceiptRejected(f"entry {entry.index} stands after entry {last}")
        last = entry.index
        try:
            merkle.verify_inclusion(merkle.leaf_hash(entry.leaf), entry.index, tree.size, entry.proof, tree.root)
            signer, envelope, fact = _opened(entry, chain)
            if fact is None:
                attested = Attestation.parse(envelope.payload)
                attestations.append(ProvenAttestation(entry.index, signer, attested, read_predicate(attested)))
                logged.append((entry.index, envelope))
                continue
        except Refused as error:
            raise ReceiptRejected(f"entry {entry.index}: {error}") from error
        chain.learn(fact)
        statements.append(ProvenStatement(entry.index, signer, fact, entry.payload))
    _check_attestations(receipt.attestations, logged)
    return attestations, statements


def _opened(entry: ReceiptEntry, chain: _KeyChain) -> tuple[str, DsseEnvelope, Statement | None]:
    """Return an entry's signer, its envelope and its statement, None for an attestation; Refused when unproven."""
    envelope, fact = statement.read_leaf(entry.leaf)
    if fact is None and envelope.payload_type != attestation.PAYLOAD_TYPE:
        raise ReceiptRejected(f"it is of the unknown type {envelope.payload_type}")
    if len(envelope.signatures) != 1:
        raise ReceiptRejected(f"it has {len(envelope.signatures)} signatures; expected one")
    try:
        (signer,) = verify_envelope(envelope, chain.may_sign(fact))
    except Refused as error:
        raise ReceiptRejected(f"{error}, for this kind of entry, before it") from error
    _check_payload(entry, fact)
    return signer, envelope, fact


def _check_attestations(shown: Sequence[DsseEnvelope], logged: Sequence[tuple[int, DsseEnvelope]]) -> None:
    for number, (envelope, (index, entry)) in enumerate(zip(shown, logged, strict=False)):
        if envelope != entry:
            raise ReceiptRejected(
                f"the attestations are not those of the ledger entries: number {number} is not entry {index}"
            )
    if len(shown) != len(logged):
        raise ReceiptRejected(
            f"the attestations are not those of the ledger entries: {len(shown)} are shown, {len(logged)} logged"
        )


def _check_payload(entry: ReceiptEntry, fact: Statement | None) -> None:
    if entry.payload is not None and sha256(entry.payload).hexdigest() != (fact.digest if fact else None):
        raise ReceiptRejected("the payload shown with it is not the one its statement names")


def _supported(index: int, review: Review, statements: Sequence[ProvenStatement], artifact_sha256: str) -> Review:
    """Return the review, once the approval's own ledger entry says the same of the same digests.

    index  of the review's entry
    """
    where = f"the review at entry {index}"
    if review.artifact != artifact_sha256:
        raise ReceiptRejected(f"{where} is of another artifact, {review.artifact}")
    approvals = [each for each in statements if each.statement.id == review.event_id]
    if len(approvals) != 1 or not approvals[0].statement.type.startswith(APPROVAL) or approvals[0].payload is None:
        raise ReceiptRejected(f"{where} rests on the approval {review.event_id}, which the receipt does not show")
    envelope = parse_json(approvals[0].payload, "the approval")
    data = envelope.get("data") if isinstance(envelope, dict) else None
    said = (data.get("by"), data.get("digest")) if isinstance(data, dict) else None
    if approvals[0].statement.actor != review.reviewer or said != (review.reviewer, review.approval_digest):
        raise ReceiptRejected(f"{where} is not what the approval at entry {approvals[0].index} says")
    return review
