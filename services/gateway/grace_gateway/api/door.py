"""The door: what every request passes before and after its endpoint.

Before: who is asking, how often, how large. After: the operation's record is durable before the answer leaves, so
nothing is acknowledged that the ledger will not have. Health, metrics and the published log stand beside the door.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import structlog
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Unready
from grace_common.runtime import telemetry
from grace_common.runtime.operation import Operation, running
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grace_gateway.api.guard import IDENTITY, OPERATION
from grace_gateway.api.keyring import Keyring, Unauthenticated
from grace_gateway.api.limits import RateLimit
from grace_gateway.api.problems import REFUSAL, Problem, on_failure, problem_response
from grace_gateway.api.refusing import ANONYMOUS, Refusals, client_name, new_operation
from grace_gateway.domain.credentials import without_credentials
from grace_gateway.domain.roles import Identity
from grace_gateway.domain.submission import Submission
from grace_gateway.ports import Entry, Ports

OPERATION_HEADER: Final = "grace-operation-id"
COMMITTED: Final = "grace.committed"  # set in the ASGI scope once the operation's record is durable
_BESIDE: Final = ("/log/", "/api/health", "/api/ready", "/health", "/ready", "/metrics", "/openapi.json", "/docs")
_TRACEPARENT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_log = structlog.get_logger(__name__)


class Door:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, ports: Ports, keyring: Keyring, lagging: Callable[[], str | None]) -> None:
        self._app = app
        self._ports = ports
        self._keyring = keyring
        self._lagging = lagging
        settings = ports.settings
        self._per_key = RateLimit(settings.key_rate)
        self._auth_failures = RateLimit(settings.auth_failure_rate)
        self.refusals = Refusals(ports, RateLimit(settings.refusal_rate))
        self._largest = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_BESIDE):
            await self._app(scope, receive, send)
            return
        operation = new_operation(self._ports, self._ports.clock.new_id(), ANONYMOUS, scope["path"])
        scope[OPERATION] = operation
        answer = Answer(operation.id)
        with telemetry.continued(_traceparent(scope)), running(operation):
            await self._pass(scope, receive, answer)
            if COMMITTED not in scope:
                await self._record(scope, answer, operation)
        await answer.release(send)

    async def _pass(self, scope: Scope, receive: Receive, answer: "Answer") -> None:
        request = Request(scope)
        operation: Operation = scope[OPERATION]
        if b"%00" in scope.get("raw_path", b"") + scope["query_string"]:
            await answer.refuse(scope, 400, "the address contains a NUL character")
            return
        try:
            identity = self._keyring.identify(request.headers.get("authorization"), self._ports.clock.now())
        except Unauthenticated as error:
            await self._refuse_stranger(scope, answer, str(error))
            return
        except Unready as error:
            await answer.refuse(scope, 503, str(error), {"Retry-After": "1"})
            return
        scope[IDENTITY] = identity
        operation.actor = identity.user
        if not self._per_key.admits(identity.key_id):
            detail = f"more than {self._per_key.rate} requests with this key"
            await answer.refuse(scope, 429, detail, {"Retry-After": str(self._per_key.period_s)})
            return
        if scope["method"] == "POST" and (lag := self._lagging()):
            await answer.refuse(scope, 503, lag, {"Retry-After": "5"})
            return
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            await answer.refuse(scope, 400, "Content-Length is not a number")
            return
        if int(length) > self._largest:
            await answer.refuse(scope, 413, _too_large(self._largest))
            return
        try:
            await self._app(scope, _bounded(receive, self._largest), answer)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets an answer and the ledger a trace)
            if not answer.begun:  # the application's own handler answers before it raises again
                _log.error("request_failed", path=without_credentials(scope["path"]), exc_info=error)
                await answer.refuse(scope, 500, "an error of Grace itself, which its log describes")
            operation.note(error=type(error).__name__)

    async def _refuse_stranger(self, scope: Scope, answer: "Answer", detail: str) -> None:
        if self._auth_failures.admits(address_of(scope)):
            challenge = {"WWW-Authenticate": 'Bearer realm="grace", error="invalid_token"'}
            await answer.refuse(scope, 401, detail, challenge)
        else:
            wait = {"Retry-After": str(self._auth_failures.period_s)}
            await answer.refuse(scope, 429, "too many failed authentications from this address", wait)

    async def _record(self, scope: Scope, answer: "Answer", operation: Operation) -> None:
        """Make the operation's outcome durable; when that fails, the answer becomes what that failure says."""
        envelopes = self._outcome(scope, answer.status, operation)
        if not envelopes:
            return
        try:
            await self._ports.journal.commit(Entry(envelopes))
        except Exception as error:  # noqa: BLE001  (an outage or a bug: both are answered, the bug is logged)
            failure = await on_failure(Request(scope), error)
            answer.clear()
            await failure(scope, _nothing, answer)

    def _outcome(self, scope: Scope, status: int, operation: Operation) -> list[Envelope]:
        now = self._ports.clock.now()
        operation.note(method=scope["method"], path=without_credentials(scope["path"]), status=status)
        if status < 400:
            return operation.success(now)
        reason = scope.get(REFUSAL, "refused")
        if status >= 500:
            return operation.failure(now, RuntimeError(reason))
        identity: Identity | None = scope.get(IDENTITY)
        client = client_name(identity, address_of(scope))
        return self.refusals.trace(operation, client, scope["method"], scope["path"], status, reason)


async def conclude(
    request: Request,
    ports: Ports,
    status: int,
    *,
    effects: Sequence[Envelope] = (),
    submission: Submission | None = None,
    work: Callable[[], Awaitable[None]] | None = None,
) -> Submission | None:
    """Make a request's effects durable together with the record of its success, before the endpoint answers.

    work     writes to the database in the same transaction
    returns  the submission that had its id before, None when it is new
    """
    operation: Operation = request.scope[OPERATION]
    operation.note(method=request.method, path=without_credentials(request.scope["path"]), status=status)
    entry = Entry(operation.success(ports.clock.now()), effects, submission)
    before = None
    if work is None:
        before = await ports.journal.commit(entry)
    else:
        await ports.journal.commit_with(entry, work)
    if before is None or (submission is not None and submission.repeats(before)):
        request.scope[COMMITTED] = True
    return before


class Answer:
    """Holds an endpoint's answer back until the operation's record is durable."""

    def __init__(self, operation_id: UUID) -> None:
        self._operation_id = operation_id
        self._messages: list[Message] = []

    @property
    def begun(self) -> bool:
        return bool(self._messages)

    @property
    def status(self) -> int:
        return int(self._messages[0]["status"]) if self._messages else 500

    async def __call__(self, message: Message) -> None:
        self._messages.append(message)

    async def refuse(self, scope: Scope, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem, in place of whatever an endpoint had begun to say."""
        self.clear()
        scope[REFUSAL] = detail
        response = problem_response(status, detail, instance=scope["path"], headers=headers)
        await response(scope, _nothing, self)

    def clear(self) -> None:
        """Forget what an endpoint had said."""
        self._messages.clear()

    async def release(self, send: Send) -> None:
        """Send what was held back, with the operation's id."""
        for message in self._messages:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[OPERATION_HEADER] = str(self._operation_id)
            await send(message)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _bounded(receive: Receive, largest: int) -> Receive:
    """Return a `receive` that refuses the body once more than `largest` bytes arrived, whatever its header promised."""
    arrived = 0

    async def bounded() -> Message:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > largest:
            raise Problem(413, _too_large(largest))
        return message

    return bounded


def _too_large(largest: int) -> str:
    return f"the body may have {largest} bytes at most; send less, or split the request"


def address_of(scope: Scope) -> str:
    """Return the client's network address."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _traceparent(scope: Scope) -> str | None:
    """Return the W3C trace context of a request; what is malformed is ignored, as the recommendation says."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text: str = value.decode("latin-1")
            return text if _TRACEPARENT.fullmatch(text) else None
    return None
