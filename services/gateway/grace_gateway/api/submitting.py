"""What tasks, evaluations and decisions have in common: submitting, waiting, showing, listing."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Query, Request, Response
from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.errors import Refused
from grace_common.contract.events.base import Event
from grace_common.runtime import telemetry

from grace_gateway.api.answers import json_answer
from grace_gateway.api.door import conclude
from grace_gateway.api.guard import identity_of, operation_of
from grace_gateway.api.parts import ports_of
from grace_gateway.api.problems import Problem
from grace_gateway.domain.answer_view import view_of
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.fact import Fact
from grace_gateway.domain.idempotency import body_digest, keyed_id
from grace_gateway.domain.progress import STATES, Kind
from grace_gateway.domain.refusals import Unknown, Unprocessable
from grace_gateway.domain.requests import Request as Asked
from grace_gateway.domain.roles import Identity
from grace_gateway.domain.submission import Submission, submission_of
from grace_gateway.domain.task_view import View, progress_of
from grace_gateway.ports import Ports, SubmissionQuery

MOST_WAIT_S: Final = 60
PATHS: Final[dict[Kind, str]] = {"task": "tasks", "evaluation": "evaluations", "decision": "decisions"}
_SURELY_FITS: Final = 24 * 1024  # a body this small makes an envelope below the limit, whatever its characters
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)

_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Decides the id: the same key and body get the same answer, another body gets 422",
}
_PREFER_PARAMETER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "examples": ["wait=30"]},
    "description": "RFC 7240: `wait=N` waits up to N ≤ 60 seconds until it has ended or needs a person",
}
# Read from the request itself: FastAPI's handling of header parameters costs a tenth of the whole request.
KEYED: Final[dict[str, Any]] = {"parameters": [_KEY_PARAMETER]}
WAITING: Final[dict[str, Any]] = {"parameters": [_PREFER_PARAMETER]}
KEYED_AND_WAITING: Final[dict[str, Any]] = {"parameters": [_KEY_PARAMETER, _PREFER_PARAMETER]}

Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[str | None, Query(alias="cursor", max_length=200, description="`next_cursor` of the page before")]


async def submit(request: Request, kind: Kind, body: Asked) -> Response:
    """State what was submitted and answer 202 once it is durable; a repeated key gets the first answer again."""
    identity, operation, ports = identity_of(request), operation_of(request), ports_of(request)
    key = request.headers.get("idempotency-key")
    canonical = body.model_dump_json().encode()
    id_ = keyed_id(identity.user, PATHS[kind], key) if key is not None else ports.clock.new_id()
    now = ports.clock.now()
    operation.subject = operation.correlation = str(id_)
    envelope = Envelope(
        id=id_,
        source="/grace/gateway",
        time=now,
        correlation=str(id_),
        causation=None,
        operation=operation.id,
        actor=identity.user,
        traceparent=telemetry.traceparent(),
        event=body.event(id_, identity.user, "http"),
    )
    if len(canonical) > _SURELY_FITS:
        check_size(envelope)
    operation.wrote.append(envelope.id)
    submission = submission_of(envelope, body_digest(canonical))
    assert submission is not None  # `body.event` is one of the three submitting events
    before = await conclude(request, ports, 202, effects=[envelope], submission=submission)
    if before is not None:
        if not submission.repeats(before):
            raise Unprocessable("this Idempotency-Key was used with another body; use a new key for a new request")
        submission = before
    return await _answer(request, submission, status=202)


async def state(request: Request, event: Event, *, subject: str) -> Envelope:
    """State a fact about something that exists; return its envelope once it is durable."""
    operation, ports = operation_of(request), ports_of(request)
    key = request.headers.get("idempotency-key")
    operation.subject = operation.correlation = subject
    envelope = operation.envelope(event, ports.clock.now())
    if key is not None:
        envelope = replace(envelope, id=keyed_id(identity_of(request).user, f"{event.TYPE} {subject}", key))
    check_size(envelope)
    await conclude(request, ports, 202, effects=[envelope])
    return envelope


def check_size(envelope: Envelope) -> None:
    """Raise Problem 413 for a request whose fact would not fit into an envelope."""
    try:
        encode(envelope)
    except Refused as error:
        raise Problem(413, str(error)) from error


async def show(request: Request, kind: Kind, id_: UUID) -> Response:
    """Answer with the view, after waiting as the client prefers."""
    submission = await visible(ports_of(request), kind, id_, identity_of(request))
    operation = operation_of(request)
    operation.subject = operation.correlation = str(id_)
    return await _answer(request, submission, status=200)


async def visible(ports: Ports, kind: Kind, id_: UUID, identity: Identity) -> Submission:
    """Return a submission; Unknown when there is none, or when the one who asks may not see it."""
    submission = await ports.views.submission(id_)
    if submission is None or submission.kind != kind or not identity.sees(submission.requester):
        raise Unknown(f"there is no {kind} {id_}")
    return submission


async def current_view(ports: Ports, kind: Kind, id_: UUID, identity: Identity) -> View:
    """Return the view of what the one who asks may see; Unknown otherwise."""
    await visible(ports, kind, id_, identity)
    return view_of(kind, await ports.views.facts(id_))


async def listing(
    request: Request,
    kind: Kind,
    *,
    state: str | None,
    requester: str | None,
    cursor: str | None,
    limit: int,
) -> Response:
    """Answer with one page, newest first; requesters see their own."""
    identity = identity_of(request)
    if state is not None and state not in STATES:
        raise Unprocessable(f"state {state[:40]!r} is none of {', '.join(STATES)}")
    if not identity.sees_all:
        if requester not in (None, identity.user):
            raise Problem(403, "requesters list what they asked for themselves")
        requester = identity.user
    page = await ports_of(request).views.submissions(
        SubmissionQuery(
            kind=kind,
            limit=limit,
            requester=requester,
            state=state,
            after=Cursor.decode(cursor) if cursor is not None else None,
        )
    )
    return json_answer({"items": list(page.items), "next_cursor": page.next_cursor})


async def _answer(request: Request, submission: Submission, *, status: int) -> Response:
    """Answer with the view: at once, or when it is settled, if the client prefers to wait for that."""
    ports = ports_of(request)
    headers = {"Location": f"/api/{PATHS[submission.kind]}/{submission.id}"} if status == 202 else {}
    wait_s = preferred_wait_s(request.headers.get("prefer"))
    facts: Sequence[Fact] = [submission.fact]
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
        facts = await _settled(ports, submission, wait_s)
    elif status == 200:
        facts = await ports.views.facts(submission.id)
    return json_answer(view_of(submission.kind, facts), status, headers)


async def _settled(ports: Ports, submission: Submission, wait_s: int) -> Sequence[Fact]:
    """Return the facts once nothing more happens without a person, or when the time is up."""
    deadline = asyncio.get_running_loop().time() + wait_s
    with ports.feed.watch(submission.id) as heard:
        while True:
            heard.clear()
            facts = await ports.views.facts(submission.id)
            if progress_of(facts).settled:
                return facts
            try:
                async with asyncio.timeout_at(deadline):
                    await heard.wait()
            except TimeoutError:
                return facts


def preferred_wait_s(prefer: str | None) -> int | None:
    """Return the seconds that a `Prefer` header asks to wait, at most 60; None when it asks for nothing known."""
    found = _WAIT.search(prefer) if prefer else None
    return min(int(found[1]), MOST_WAIT_S) if found else None
