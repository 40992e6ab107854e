"""What the crypto-signer attests of an artifact: who approved exactly what, who wrote it, and how it came to be."""

from collections.abc import Mapping
from typing import Any, Final

from grace_common.contract.events.round import ApprovalRecorded, TaskCompleted
from grace_common.transparency.attestation import (
    DECISION,
    EVALUATION_REPORT,
    SPECIFICATION,
    Attestation,
    Authorship,
    Prompt,
    Provenance,
    Review,
    Subject,
    TestResult,
)
from grace_common.transparency.strict import Malformed

BUILD_TYPE: Final = "https://grace.example/build/task/v1"
BUILDER: Final = "https://grace.example/builder/code-gen"


def artifact(entry_point: str, sha256: str) -> Subject:
    """Return an artifact as attestations and receipts call it: `fibonacci.py`."""
    return Subject(f"{entry_point}.py", sha256)


def attestations_of(type_: str, data: Mapping[str, Any], *, cause: str | None, time: str) -> dict[int, Attestation]:
    """Return what a fact makes attestable, by the ordinals of the attestations' ids, in the order to state them.

    The provenance comes last, so that whoever finds it in the ledger knows that nothing of the delivery is missing.

    data     the event's data as JSON has it
    cause    id of the event that caused it: the approval itself, where the fact is that it counts
    time     of the fact, RFC 3339
    returns  nothing for most facts, and for one whose data do not hold together: it is notarised all the same, and no
             receipt will show what was not attested
    """
    try:
        if type_ == TaskCompleted.TYPE:
            return _delivery(data, time)
        if type_ == ApprovalRecorded.TYPE and cause is not None:
            review = _review(data, cause, time)
            return {} if review is None else {0: review}
    except (KeyError, TypeError, AttributeError, Malformed):
        return {}
    return {}


def _delivery(data: Mapping[str, Any], time: str) -> dict[int, Attestation]:
    made: dict[int, Attestation] = {}
    if data.get("outcomes") is not None:
        made[1] = _tests(data, data["outcomes"])
    if data.get("authorship") is not None:
        made[2] = _authorship(data, data["authorship"])
    return made | {0: _provenance(data, time)}


def _tests(data: Mapping[str, Any], outcomes: Mapping[str, Any]) -> Attestation:
    tests = TestResult(
        configuration=(
            Subject(SPECIFICATION, outcomes["specification_sha256"]),
            Subject(EVALUATION_REPORT, data["report_sha256"]),
        ),
        passed=tuple(outcomes["passed"]),
        warned=tuple(outcomes["warned"]),
        failed=tuple(outcomes["failed"]),
    )
    return tests.of(artifact(data["entry_point"], data["artifact_sha256"]))


def _authorship(data: Mapping[str, Any], written: Mapping[str, Any]) -> Attestation:
    authorship = Authorship(
        generator=data["generator"],
        model=written["model"],
        strategy=f"{written['strategy']['name']}@{written['strategy']['version']}",
        prompts=tuple(Prompt(prompt["role"], prompt["sha256"]) for prompt in written["prompts"]),
        invocation_id=f"urn:uuid:{data['task_id']}",
        candidate=data["candidate_id"],
    )
    return authorship.of(artifact(data["entry_point"], data["artifact_sha256"]))


def _provenance(data: Mapping[str, Any], time: str) -> Attestation:
    provenance = Provenance(
        build_type=BUILD_TYPE,
        builder_id=BUILDER,
        invocation_id=f"urn:uuid:{data['task_id']}",
        started=data.get("submitted_at") or time,
        finished=time,
        external_parameters={
            "task": data["task_id"],
            "requester": data["requester"],
            "entry_point": data["entry_point"],
        },
        internal_parameters={
            "round": data["round_id"],
            "round_number": data["round_number"],
            "candidate": data["candidate_id"],
            "generator": data["generator"],
            "confidence": data["confidence"],
            "quality_score": data["quality_score"],
            "policy": data["policy"],
            "approved_by": list(data["approved_by"]),
        },
        dependencies=(
            Subject(EVALUATION_REPORT, data["report_sha256"]),
            Subject(DECISION, data["decision_sha256"]),
        ),
    )
    return provenance.of(artifact(data["entry_point"], data["artifact_sha256"]))


def _review(data: Mapping[str, Any], cause: str, time: str) -> Attestation | None:
    members = ("by", "role", "policy", "entry_point", "artifact_sha256", "report_sha256", "decision_sha256")
    if any(not isinstance(data.get(member), str) for member in members):
        return None
    review = Review(
        reviewer=data["by"],
        role=data["role"],
        policy=data["policy"],
        artifact=data["artifact_sha256"],
        report=data["report_sha256"],
        decision=data["decision_sha256"],
        event_id=cause,
        time=time,
    )
    if review.approval_digest != data["digest"]:
        return None  # what is said to be approved is not what the approval names
    return review.of(artifact(data["entry_point"], data["artifact_sha256"]))
