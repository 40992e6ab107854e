"""What Grace attests of an artifact: in-toto statements with SLSA provenance or a review.

Source: in-toto attestation framework v1 (github.com/in-toto/attestation), SLSA provenance v1 (slsa.dev/provenance/v1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from grace_common.transparency.dsse import DsseEnvelope, sign_envelope
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    parse_json,
    read_list,
    read_object,
    read_sha256,
    read_string,
)

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
REVIEW: Final = "https://grace.example/attestation/review/v1"


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact, by name and SHA-256 in hexadecimal digits."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Attestation:
    """An in-toto Statement v1 over artifacts; the predicate says what is claimed of them."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]

    def encode(self) -> bytes:
        """Return the statement's bytes: compact JSON, members in the specification's order."""
        return compact_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": each.name, "digest": {"sha256": each.sha256}} for each in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> "Attestation":
        """Return the attestation of these JSON bytes; raises Malformed."""
        what = "the in-toto statement"
        members = read_object(parse_json(payload, what), what, ("_type", "subject", "predicateType", "predicate"))
        if members["_type"] != STATEMENT_TYPE:
            raise Malformed(f"{what} is of type {members['_type']!r}; expected {STATEMENT_TYPE}")
        subjects: list[Subject] = []
        for item in read_list(members["subject"], "the subjects"):
            subject = read_object(item, "a subject", ("name", "digest"))
            digest = read_object(subject["digest"], "a subject's digest", ("sha256",))
            name = read_string(subject["name"], "a subject's name")
            subjects.append(Subject(name, read_sha256(digest["sha256"], "a subject's sha256")))
        if not isinstance(members["predicate"], dict):
            raise Malformed("the predicate is no JSON object")
        return cls(tuple(subjects), read_string(members["predicateType"], "predicateType"), members["predicate"])


def sign_attestation(attestation: Attestation, signer_key_id: str, sign: Sign) -> DsseEnvelope:
    """Return the attestation in a DSSE envelope; its `encode()` is the leaf that goes into the ledger."""
    return sign_envelope(PAYLOAD_TYPE, attestation.encode(), signer_key_id, sign)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an artifact came to be, as SLSA provenance v1 says it.

    build_type           URI of the procedure, which defines the parameters' meaning
    builder_id           URI of who ran it
    invocation_id        the run, such as the task's id
    started, finished    RFC 3339
    external_parameters  what the requester asked
    internal_parameters  what Grace chose: generator, strategy, seeds
    dependencies         what went in, each with name and SHA-256
    """

    build_type: str
    builder_id: str
    invocation_id: str
    started: str
    finished: str
    external_parameters: Mapping[str, Any]
    internal_parameters: Mapping[str, Any]
    dependencies: Sequence[Subject] = ()

    def of(self, *subjects: Subject) -> Attestation:
        """Return the provenance as an attestation of these artifacts."""
        predicate = {
            "buildDefinition": {
                "buildType": self.build_type,
                "externalParameters": dict(self.external_parameters),
                "internalParameters": dict(self.internal_parameters),
                "resolvedDependencies": [
                    {"name": each.name, "digest": {"sha256": each.sha256}} for each in self.dependencies
                ],
            },
            "runDetails": {
                "builder": {"id": self.builder_id},
                "metadata": {
                    "invocationId": self.invocation_id,
                    "startedOn": self.started,
                    "finishedOn": self.finished,
                },
            },
        }
        return Attestation(subjects, PROVENANCE, predicate)


@dataclass(frozen=True, slots=True)
class Review:
    """Who approved an artifact, and exactly what.

    reviewer, role   the person and the role in which they judged
    policy           the policy that demanded or allowed it, with its version
    artifact, report, decision
                     SHA-256, hexadecimal, of the three things approved together
    event_id         the approval's own event, whose ledger entry and content a receipt carries
    time             RFC 3339
    """

    reviewer: str
    role: str
    policy: str
    artifact: str
    report: str
    decision: str
    event_id: str
    time: str

    @property
    def approval_digest(self) -> str:
        """SHA-256 of the compact JSON of the three digests, which is what the approval itself names."""
        return sha256(compact_json(self._approved())).hexdigest()

    def _approved(self) -> dict[str, str]:
        return {"artifact": self.artifact, "decision": self.decision, "report": self.report}

    def of(self, *subjects: Subject) -> Attestation:
        """Return the review as an attestation of these artifacts."""
        predicate = {
            "reviewer": self.reviewer,
            "role": self.role,
            "policy": self.policy,
            "approved": self._approved(),
            "event_id": self.event_id,
            "time": self.time,
        }
        return Attestation(subjects, REVIEW, predicate)

    @classmethod
    def read(cls, predicate: Mapping[str, Any]) -> "Review":
        """Return the review of an attestation's predicate; raises Malformed."""
        required = ("reviewer", "role", "policy", "approved", "event_id", "time")
        members = read_object(predicate, "the review", required)
        approved = read_object(members["approved"], "the review's approved", ("artifact", "decision", "report"))
        return cls(
            reviewer=read_string(members["reviewer"], "the review's reviewer"),
            role=read_string(members["role"], "the review's role"),
            policy=read_string(members["policy"], "the review's policy"),
            artifact=read_sha256(approved["artifact"], "the approved artifact"),
            report=read_sha256(approved["report"], "the approved report"),
            decision=read_sha256(approved["decision"], "the approved decision"),
            event_id=read_string(members["event_id"], "the review's event_id"),
            time=read_string(members["time"], "the review's time"),
        )
