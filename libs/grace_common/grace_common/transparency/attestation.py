"""What Grace attests of an artifact: in-toto statements of its provenance, authorship, tests and reviews.

Source: in-toto attestation framework v1 and its test-result predicate v0.1 (github.com/in-toto/attestation), SLSA
provenance v1 (slsa.dev/provenance/v1). The predicates of Grace's own are defined in docs/receipt-format.md.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from grace_common.transparency.dsse import DsseEnvelope, sign_envelope
from grace_common.transparency.ed25519 import Sign
from grace_common.transparency.strict import (
    Malformed,
    compact_json,
    parse_json,
    read_list,
    read_members,
    read_number,
    read_object,
    read_optional_string,
    read_sha256,
    read_string,
)

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
AUTHORSHIP: Final = "https://grace.example/attestation/ai-authorship/v1"
REVIEW: Final = "https://grace.example/attestation/review/v2"
REVIEW_V1: Final = "https://grace.example/attestation/review/v1"  # its policy is one text; still read

EVALUATION_REPORT: Final = "evaluation-report"
DECISION: Final = "decision"
SPECIFICATION: Final = "specification"

_NAMED_VERSION: Final = re.compile(r"(.+)@([1-9][0-9]{0,9})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact, by name and SHA-256 in hexadecimal digits."""

    name: str
    sha256: str

    def as_object(self) -> dict[str, Any]:
        """Return the subject as in-toto's resource descriptor."""
        return {"name": self.name, "digest": {"sha256": self.sha256}}

    @classmethod
    def read(cls, value: object, what: str) -> "Subject":
        """Return the subject of a resource descriptor, whose other members are passed over; raises Malformed."""
        members = read_members(value, what, ("name", "digest"))
        digest = read_members(members["digest"], f"{what}'s digest", ("sha256",))
        return cls(read_string(members["name"], f"{what}'s name"), read_sha256(digest["sha256"], f"{what}'s sha256"))


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
                "subject": [each.as_object() for each in self.subjects],
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
                "resolvedDependencies": [each.as_object() for each in self.dependencies],
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

    @classmethod
    def read(cls, predicate: Mapping[str, Any]) -> "Provenance":
        """Return the provenance of an attestation's predicate, as far as Grace writes it; raises Malformed."""
        whole = read_members(predicate, "the provenance", ("buildDefinition", "runDetails"))
        parts = ("buildType", "externalParameters", "internalParameters", "resolvedDependencies")
        build = read_members(whole["buildDefinition"], "the buildDefinition", parts)
        run = read_members(whole["runDetails"], "the runDetails", ("builder", "metadata"))
        builder = read_members(run["builder"], "the builder", ("id",))
        metadata = read_members(run["metadata"], "the metadata", ("invocationId", "startedOn", "finishedOn"))
        dependencies = read_list(build["resolvedDependencies"], "the resolvedDependencies")
        return cls(
            build_type=read_string(build["buildType"], "the buildType"),
            builder_id=read_string(builder["id"], "the builder's id"),
            invocation_id=read_string(metadata["invocationId"], "the invocationId"),
            started=read_string(metadata["startedOn"], "startedOn"),
            finished=read_string(metadata["finishedOn"], "finishedOn"),
            external_parameters=read_members(build["externalParameters"], "the externalParameters", ()),
            internal_parameters=read_members(build["internalParameters"], "the internalParameters", ()),
            dependencies=tuple(Subject.read(each, "a dependency") for each in dependencies),
        )

    @property
    def sentence(self) -> str:
        """Who made it, when, for whom, and from what."""
        requester = self.external_parameters.get("requester")
        asked = f" at the request of {requester}" if isinstance(requester, str) else ""
        return (
            f"{self.builder_id} made it in the run {self.invocation_id}{asked}, "
            f"from {self.started} to {self.finished}{_resting_on(self.dependencies)}."
        )


TestVerdict = Literal["PASSED", "WARNED", "FAILED"]


@dataclass(frozen=True, slots=True)
class TestResult:
    """How an artifact did in its tests, as in-toto's test-result predicate says it.

    configuration           what the tests were and what they found, each with name and SHA-256
    passed, warned, failed  names of the tests; one that warned was written by a generator, so that it is evidence
                            against the artifact or against itself
    """

    __test__ = False  # no test of pytest's

    configuration: tuple[Subject, ...]
    passed: tuple[str, ...]
    warned: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def verdict(self) -> TestVerdict:
        """The worst that befell."""
        return "FAILED" if self.failed else "WARNED" if self.warned else "PASSED"

    def of(self, *subjects: Subject) -> Attestation:
        """Return the results as an attestation of these artifacts."""
        predicate = {
            "result": self.verdict,
            "configuration": [each.as_object() for each in self.configuration],
            "passedTests": list(self.passed),
            "warnedTests": list(self.warned),
            "failedTests": list(self.failed),
        }
        return Attestation(subjects, TEST_RESULT, predicate)

    @classmethod
    def read(cls, predicate: Mapping[str, Any]) -> "TestResult":
        """Return the results of an attestation's predicate; raises Malformed."""
        members = read_members(predicate, "the test result", ("result", "configuration"))
        configuration = read_list(members["configuration"], "the tests' configuration")
        found = cls(
            configuration=tuple(Subject.read(each, "a part of the tests' configuration") for each in configuration),
            passed=_names(members, "passedTests"),
            warned=_names(members, "warnedTests"),
            failed=_names(members, "failedTests"),
        )
        if members["result"] != found.verdict:
            raise Malformed(f"the tests' result is {members['result']!r}; what is listed makes it {found.verdict}")
        return found

    @property
    def sentence(self) -> str:
        """The verdict, the counts, what did not pass, and by which report."""
        missed = [*(f"failed: {name}" for name in self.failed), *(f"warned: {name}" for name in self.warned)]
        shown = "; " + "; ".join(missed) if missed else ""
        return (
            f"Its tests ended as {self.verdict}: {len(self.passed)} passed, {len(self.warned)} warned and "
            f"{len(self.failed)} failed{_resting_on(self.configuration)}{shown}."
        )


def _names(members: Mapping[str, Any], member: str) -> tuple[str, ...]:
    return tuple(read_string(name, f"a name of {member}") for name in read_list(members.get(member, []), member))


Role = Literal["system", "user"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A message that a model was given, by SHA-256 of its UTF-8 bytes: the message itself is nobody else's business."""

    role: Role
    sha256: str


@dataclass(frozen=True, slots=True)
class Authorship:
    """Which machine wrote an artifact's code.

    generator  the source of candidates, such as `synthesis` or `openai:qwen3`
    model      the language model, None where the generator names none
    strategy   how candidates were generated, `name@version`
    prompts    what the model was told, in order
    invocation_id  the run, as the provenance names it
    candidate  id of the candidate that was chosen
    """

    generator: str
    model: str | None
    strategy: str
    prompts: tuple[Prompt, ...]
    invocation_id: str
    candidate: str

    def of(self, *subjects: Subject) -> Attestation:
        """Return the authorship as an attestation of these artifacts; raises Malformed for an unversioned strategy."""
        predicate = {
            "generator": self.generator,
            "model": self.model,
            "strategy": _versioned_object(self.strategy, "the strategy"),
            "prompts": [{"role": each.role, "digest": {"sha256": each.sha256}} for each in self.prompts],
            "invocationId": self.invocation_id,
            "candidate": self.candidate,
        }
        return Attestation(subjects, AUTHORSHIP, predicate)

    @classmethod
    def read(cls, predicate: Mapping[str, Any]) -> "Authorship":
        """Return the authorship of an attestation's predicate; raises Malformed."""
        required = ("generator", "model", "strategy", "prompts", "invocationId", "candidate")
        members = read_object(predicate, "the authorship", required)
        return cls(
            generator=read_string(members["generator"], "the authorship's generator"),
            model=read_optional_string(members["model"], "the authorship's model"),
            strategy=_read_versioned(members["strategy"], "the authorship's strategy"),
            prompts=tuple(map(_read_prompt, read_list(members["prompts"], "the authorship's prompts"))),
            invocation_id=read_string(members["invocationId"], "the authorship's invocationId"),
            candidate=read_string(members["candidate"], "the authorship's candidate"),
        )

    @property
    def sentence(self) -> str:
        """What wrote it, how, and what it was told."""
        model = f"the model {self.model}" if self.model else "no language model named"
        told = ", ".join(f"{each.role} {each.sha256}" for each in self.prompts) or "none"
        return (
            f"A machine wrote it: the generator {self.generator} ({model}) under the strategy {self.strategy}; "
            f"prompts by SHA-256: {told}."
        )


def _read_prompt(value: object) -> Prompt:
    members = read_object(value, "a prompt", ("role", "digest"))
    digest = read_object(members["digest"], "a prompt's digest", ("sha256",))
    role: Role
    for role in get_args(Role):
        if members["role"] == role:
            return Prompt(role, read_sha256(digest["sha256"], "a prompt's sha256"))
    raise Malformed(f"a prompt's role is {members['role']!r}; expected one of {list(get_args(Role))}")


def _versioned_object(text: str, what: str) -> dict[str, Any]:
    """Return `name@version` as the object that predicates hold; raises Malformed."""
    match = _NAMED_VERSION.fullmatch(text)
    if match is None:
        raise Malformed(f"{what} is {text!r}; expected a name and a version, as in approval@1")
    return {"name": match[1], "version": int(match[2])}


def _read_versioned(value: object, what: str) -> str:
    members = read_object(value, what, ("name", "version"))
    text = f"{read_string(members['name'], f'{what} (name)')}@{read_number(members['version'], f'{what} (version)')}"
    if _NAMED_VERSION.fullmatch(text) is None:
        raise Malformed(f"{what} is {text!r}; versions count from 1")
    return text


def _resting_on(parts: Iterable[Subject]) -> str:
    said = ", ".join(f"{each.name} {each.sha256}" for each in parts)
    return f"; it rests on {said}" if said else ""


@dataclass(frozen=True, slots=True)
class Review:
    """Who approved an artifact, and exactly what.

    reviewer, role   the person and the role in which they judged
    policy           the policy that demanded or allowed it, `name@version`
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
        """Return the review as an attestation of these artifacts; raises Malformed for an unversioned policy."""
        predicate = {
            "reviewer": self.reviewer,
            "role": self.role,
            "policy": _versioned_object(self.policy, "the policy"),
            "approved": self._approved(),
            "event_id": self.event_id,
            "time": self.time,
        }
        return Attestation(subjects, REVIEW, predicate)

    @classmethod
    def read(cls, predicate: Mapping[str, Any], predicate_type: str = REVIEW) -> "Review":
        """Return the review of an attestation's predicate of either version; raises Malformed."""
        required = ("reviewer", "role", "policy", "approved", "event_id", "time")
        members = read_object(predicate, "the review", required)
        approved = read_object(members["approved"], "the review's approved", ("artifact", "decision", "report"))
        return cls(
            reviewer=read_string(members["reviewer"], "the review's reviewer"),
            role=read_string(members["role"], "the review's role"),
            policy=read_string(members["policy"], "the review's policy")
            if predicate_type == REVIEW_V1
            else _read_versioned(members["policy"], "the review's policy"),
            artifact=read_sha256(approved["artifact"], "the approved artifact"),
            report=read_sha256(approved["report"], "the approved report"),
            decision=read_sha256(approved["decision"], "the approved decision"),
            event_id=read_string(members["event_id"], "the review's event_id"),
            time=read_string(members["time"], "the review's time"),
        )

    @property
    def sentence(self) -> str:
        """Who approved it, in which role, under which policy, and exactly what."""
        return (
            f"{self.reviewer} approved it as {self.role} under the policy {self.policy} at {self.time}: "
            f"this file, the report {self.report} and the decision {self.decision}."
        )


Predicate = Provenance | TestResult | Authorship | Review


def read_predicate(attestation: Attestation) -> Predicate | None:
    """Return what the attestation says, None for a predicate of a type not known here; raises Malformed."""
    said, type_ = attestation.predicate, attestation.predicate_type
    if type_ in (REVIEW, REVIEW_V1):
        return Review.read(said, type_)
    if type_ == PROVENANCE:
        return Provenance.read(said)
    if type_ == TEST_RESULT:
        return TestResult.read(said)
    return Authorship.read(said) if type_ == AUTHORSHIP else None
