"""Answers as bytes: what the read model holds is JSON already, and needs no second model."""

import json
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from fastapi import Response

_JSON: Final = "application/json"


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(json_bytes(value), status, headers, _JSON)


def json_bytes(value: Any) -> bytes:
    """Return JSON text in UTF-8; integers of any size stay what they are."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, which orjson does not write
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: object) -> str:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
