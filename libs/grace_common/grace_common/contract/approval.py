"""What an approval names: one digest over the artifact, its evaluation report and the decision that chose it.

Every digest is lower-case hexadecimal SHA-256: a person's tool, the console and the orchestrator agree to the byte.
"""

import hashlib
from collections.abc import Mapping

import orjson

from grace_common.contract.errors import Refused
from grace_common.contract.events.decision import DecisionReached


def artifact_sha256(code: str) -> str:
    """Return the digest of the code's UTF-8 bytes."""
    return hashlib.sha256(code.encode()).hexdigest()


def report_sha256(report: Mapping[str, object]) -> str:
    """Return the digest of the report as compact JSON with sorted keys; Refused when it holds what JSON cannot say."""
    try:
        canonical = orjson.dumps(report, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Refused(f"the evaluation report has no canonical bytes: {error}") from error
    return hashlib.sha256(canonical).hexdigest()


def decision_sha256(decision: DecisionReached) -> str:
    """Return the digest of the decision's own JSON."""
    return hashlib.sha256(decision.model_dump_json().encode()).hexdigest()


def approval_digest(*, artifact: str, report: str, decision: str) -> str:
    """Return what a reviewer approves: the digest over the three hexadecimal digests, as compact JSON in this order."""
    return hashlib.sha256(orjson.dumps({"artifact": artifact, "decision": decision, "report": report})).hexdigest()
