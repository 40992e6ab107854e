"""The JSON Schema of the receipt's file and of the predicates of its attestations, for tools that check shapes.

A shape proves nothing; docs/receipt-format.md says what does.
"""

from typing import Any, Final

from grace_common.transparency.attestation import AUTHORSHIP, PROVENANCE, REVIEW, REVIEW_V1, STATEMENT_TYPE, TEST_RESULT
from grace_common.transparency.receipt import FORMAT, FORMAT_V1

_MOST: Final = (1 << 63) - 1

_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1}
_TEXTS: Final[dict[str, Any]] = {"type": "array", "items": _TEXT}
_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0, "maximum": _MOST}
_SHA256: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_BASE64: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    "contentEncoding": "base64",
}
_BASE64_32: Final[dict[str, Any]] = {**_BASE64, "minLength": 44, "maxLength": 44}  # of 32 bytes


def _object(*optional: str, **members: dict[str, Any]) -> dict[str, Any]:
    """Return an object that has these members, all required but the `optional`, and no others."""
    return {**_foreign(*optional, **members), "additionalProperties": False}


def _foreign(*optional: str, **members: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a format that is not Grace's: others may add members to it."""
    return {"type": "object", "properties": members, "required": [name for name in members if name not in optional]}


def _list(items: dict[str, Any], **bounds: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **bounds}


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def receipt_schema(format_: str = FORMAT) -> dict[str, Any]:
    """Return the schema of a receipt; its `$defs` hold the in-toto statement that an attestation's payload is."""
    keys = {
        FORMAT_V1: _object(ca=_BASE64_32),
        FORMAT: _object(
            ca=_list(_BASE64_32, minItems=1, uniqueItems=True),
            directory={**_NUMBER, "minimum": 1, "description": "version of the key directory, which an entry shows"},
        ),
    }
    signature = _object("keyid", keyid=_TEXT, sig={**_BASE64, "minLength": 4})
    entry = _object(
        "payload",
        index=_NUMBER,
        leaf={**_BASE64, "minLength": 4},
        proof=_list(_BASE64_32, maxItems=63),
        payload=_BASE64,
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:grace:schema:{format_.replace('/', '.')}",
        "title": format_,
        **_object(
            format={"const": format_},
            artifact=_object(name=_TEXT, sha256=_SHA256, size=_NUMBER),
            attestations=_list(_named("envelope"), minItems=1),
            entries=_list(_named("entry"), minItems=1),
            keys=keys[format_],
            checkpoint={**_TEXT, "description": "a C2SP signed note"},
        ),
        "$defs": {
            "entry": entry,
            "envelope": _object(payload=_BASE64, payloadType=_TEXT, signatures=_list(signature, minItems=1)),
            **_predicates(),
        },
    }


def _predicates() -> dict[str, Any]:
    sha256 = _object(sha256=_SHA256)
    resource = _foreign(name=_TEXT, digest=_foreign(sha256=_SHA256))
    versioned = _object(name=_TEXT, version={"type": "integer", "minimum": 1, "maximum": 9_999_999_999})
    anything: dict[str, Any] = {"type": "object"}
    prompt = _object(role={"enum": ["system", "user"]}, digest=sha256)
    review = {
        "reviewer": _TEXT,
        "role": _TEXT,
        "approved": _object(artifact=_SHA256, decision=_SHA256, report=_SHA256),
        "event_id": _TEXT,
        "time": _TEXT,
    }
    build = _foreign(
        buildType=_TEXT,
        externalParameters=anything,
        internalParameters=anything,
        resolvedDependencies=_list(resource),
    )
    metadata = _foreign(invocationId=_TEXT, startedOn=_TEXT, finishedOn=_TEXT)
    run = _foreign(builder=_foreign(id=_TEXT), metadata=metadata)
    predicates = {
        PROVENANCE: ("provenance", _foreign(buildDefinition=build, runDetails=run)),
        TEST_RESULT: (
            "test-result",
            _foreign(
                *("passedTests", "warnedTests", "failedTests"),
                result={"enum": ["PASSED", "WARNED", "FAILED"]},
                configuration=_list(resource),
                passedTests=_TEXTS,
                warnedTests=_TEXTS,
                failedTests=_TEXTS,
            ),
        ),
        AUTHORSHIP: (
            "ai-authorship",
            _object(
                generator=_TEXT,
                model={**_TEXT, "type": ["string", "null"]},
                strategy=versioned,
                prompts=_list(prompt),
                invocationId=_TEXT,
                candidate=_TEXT,
            ),
        ),
        REVIEW: ("review", _object(**review, policy=versioned)),
        REVIEW_V1: ("review-v1", _object(**review, policy=_TEXT)),
    }
    statement = _object(
        _type={"const": STATEMENT_TYPE},
        subject=_list(_object(name=_TEXT, digest=sha256), minItems=1),
        predicateType=_TEXT,
        predicate=anything,
    )
    statement["allOf"] = [
        {
            "if": {"properties": {"predicateType": {"const": type_}}},
            "then": {"properties": {"predicate": _named(name)}},
        }
        for type_, (name, _) in predicates.items()
    ]
    return {"statement": statement, **dict(predicates.values())}
