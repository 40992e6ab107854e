"""RFC 9457 problem details: every answer that is no success says what was found, what was expected, what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.outage import describe_outage, is_outage
from starlette.exceptions import HTTPException as StarletteHTTPException

from grace_gateway.domain.credentials import without_credentials
from grace_gateway.domain.refusals import Conflicting, Forbidden, Unknown, Unprocessable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
REFUSAL: Final = "grace.refusal"  # where an answer's reason stands in the ASGI scope, for the ledger

_STATUS_OF: Final[tuple[tuple[type[Refused], int], ...]] = (
    (Unknown, 404),
    (Forbidden, 403),
    (Conflicting, 409),
    (Unprocessable, 422),
    (Refused, 422),
)
_SHOWN_ERRORS: Final = 20
_log = structlog.get_logger(__name__)


class Problem(HTTPException):
    """An answer that is no success, with the headers that its status demands."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.members = members or {}


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Return the problem document; its `type` names the status, its other members say the rest."""
    title = HTTPStatus(status).phrase
    body = {
        "type": f"urn:grace:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        **(members or {}),
    }
    return Response(without_credentials(orjson.dumps(body).decode()), status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every refusal and failure of `app` with a problem document."""
    for kind, handler in _HANDLERS:
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, on_failure)


async def answer_to(request: Request, error: Exception) -> Response:
    """Return the problem document that answers an error."""
    handler = next((handler for kind, handler in _HANDLERS if isinstance(error, kind)), on_failure)
    return await handler(request, error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    members = error.members if isinstance(error, Problem) else None
    # The exception's own headers are kept: a 405 must name the allowed methods, a 401 the scheme.
    return _answer(request, error.status_code, str(error.detail), error.headers, members)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Never the offending values: they may be secrets, and they would end in the ledger.
    found = [{"where": ".".join(str(part) for part in item["loc"]), "message": item["msg"]} for item in error.errors()][
        :_SHOWN_ERRORS
    ]
    detail = "; ".join(f"{item['where']}: {item['message']}" for item in found[:5])
    return _answer(request, 422, detail, None, {"errors": found})


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
    return _answer(request, status, str(error), None, None)


async def _on_unready(request: Request, error: Exception) -> Response:
    return _answer(request, 503, str(error), {"Retry-After": str(RETRY_AFTER_S)}, None)


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw: 503 when waiting heals it, else 500; the log has the details, the client none."""
    if is_outage(error):
        _log.warning("request_waits", missing=describe_outage(error))
        detail = "the database does not answer; nothing was done, try again"
        return _answer(request, 503, detail, {"Retry-After": str(RETRY_AFTER_S)}, None)
    _log.error("request_failed", path=without_credentials(request.url.path), exc_info=error)
    return _answer(request, 500, "an error of Grace itself, which its log describes", None, None)


_HANDLERS: Final = (
    (StarletteHTTPException, _on_http),
    (RequestValidationError, _on_invalid),
    (Refused, _on_refused),
    (Unready, _on_unready),
)
FORESEEN: Final = tuple(kind for kind, _ in _HANDLERS)


def _answer(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None, members: Mapping[str, Any] | None
) -> Response:
    request.scope[REFUSAL] = detail
    return problem_response(status, detail, instance=request.url.path, headers=headers, members=members)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these problem responses."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {
                MEDIA_TYPE: {
                    "schema": schema,
                    "example": {
                        "type": f"urn:grace:problem:{HTTPStatus(status).phrase.lower().replace(' ', '-')}",
                        "title": HTTPStatus(status).phrase,
                        "status": status,
                        "detail": "what was found, and what was expected",
                        "instance": "/api/tasks",
                    },
                }
            },
        }
        for status in statuses
    }


PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "ProblemDetails",
    "description": "RFC 9457",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"where": {"type": "string"}, "message": {"type": "string"}},
                "required": ["where", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance"],
}
