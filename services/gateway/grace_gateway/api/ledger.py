"""`/api/ledger`: searching the ledger, and proofs about it.

Answers come from the read model and from the published static files; nobody asks the audit-log.
"""

import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from grace_common.contract.events.signature import ArtifactAttested, KeyDirectoryPublished, NotaryKeyPublished
from grace_common.contract.events.task import RedactionRequested
from pydantic import AwareDatetime, Field

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import Problem, documented
from grace_gateway.api.submitting import After, Limit, state
from grace_gateway.domain.cursor import decode_number, encode_number
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.log_proof import PublishedLog
from grace_gateway.domain.operation_view import KEY_TYPES
from grace_gateway.domain.refusals import Conflicting, Unknown
from grace_gateway.domain.requests import Body
from grace_gateway.domain.roles import AUDITOR, OPERATOR, REVIEWER
from grace_gateway.ports import Ports

router = APIRouter(prefix="/api/ledger", tags=["ledger"], route_class=GuardedRoute)

Text = Annotated[str | None, Query(max_length=200)]
Index = Annotated[int, Path(ge=0, le=2**62)]
WITHOUT_CONTENT = (  # or with content that must stay
    *KEY_TYPES,
    NotaryKeyPublished.TYPE,
    KeyDirectoryPublished.TYPE,
    ArtifactAttested.TYPE,
    RedactionRequested.TYPE,
)
Size = Annotated[int, Query(ge=1, le=2**62)]


class Redaction(Body):
    """Why; the reason itself is kept for ever, so it must not repeat what is to be removed."""

    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def search_ledger(
    request: Request,
    ports: FromPorts,
    operation_id: UUID | None = None,
    task: Annotated[UUID | None, Query(description="the task, evaluation or decision that entries are about")] = None,
    actor: Text = None,
    type: Text = None,
    service: Text = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    order: Literal["newest", "oldest"] = "newest",
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """Search the entries. Requesters must name a task of their own; everybody else may look at all."""
    await _check_requester(request, ports, task)
    query = LedgerQuery(
        limit=limit + 1,
        operation_id=operation_id,
        correlation=str(task) if task is not None else None,
        actor=actor,
        entry_type=type,
        service=service,
        since=since,
        until=until,
        newest_first=order == "newest",
        after=decode_number(cursor) if cursor is not None else None,
    )
    found = await ports.views.ledger(query)
    more = encode_number(found[limit - 1]["index"]) if len(found) > limit else None
    return json_answer({"items": found[:limit], "next_cursor": more})


@router.get("/checkpoint", responses=documented(401, 429, 503))
@everyone
async def checkpoint(ports: FromPorts) -> Response:
    """Return the newest signed checkpoint."""
    return json_answer((await _published(ports)).described(), 200, {"Cache-Control": "no-cache"})


@router.get("/entries/{index}", responses=documented(401, 403, 404, 422, 429, 503))
@allow(REVIEWER, OPERATOR, AUDITOR)
async def entry(index: Index, ports: FromPorts) -> Response:
    """Return one entry: its leaf, what it states, its inclusion proof, and the checkpoint that this leads to."""
    log = await _published(ports)
    return json_answer(await asyncio.to_thread(log.entry, index))


@router.post("/entries/{index}/redaction", status_code=202, responses=documented(401, 403, 404, 409, 422, 429, 503))
@allow(OPERATOR)
async def redact(request: Request, index: Index, body: Redaction, ports: FromPorts) -> Response:
    """Remove the content of an entry for good; the entry and the tree stay, and the redaction is an entry as well."""
    found = await ports.views.ledger(LedgerQuery(1, newest_first=False, after=index - 1))
    if not found or found[0]["index"] != index:
        raise Unknown(f"the ledger has no entry {index} (yet)")
    entry_id, entry_type = UUID(str(found[0]["entry_id"])), found[0]["entry_type"]
    if entry_type in WITHOUT_CONTENT:
        raise Conflicting(f"entry {index} is of type {entry_type}, whose content cannot be removed")
    event = RedactionRequested(index=index, entry_id=entry_id, reason=body.reason, by=identity_of(request).user)
    envelope = await state(request, event, subject=str(entry_id))
    return json_answer({"event_id": str(envelope.id), "index": index, "entry_id": str(entry_id)}, 202)


@router.get("/proof/consistency", responses=documented(401, 422, 429, 503))
@everyone
async def consistency(
    ports: FromPorts, from_: Annotated[int, Query(alias="from", ge=1, le=2**62)], to: Size
) -> Response:
    """Return the proof that the tree of size `to` extends that of size `from`."""
    log = await _published(ports)
    return json_answer(await asyncio.to_thread(log.consistency, from_, to))


async def _published(ports: Ports) -> PublishedLog:
    return await asyncio.to_thread(PublishedLog.read, ports.publication)


async def _check_requester(request: Request, ports: Ports, task: UUID | None) -> None:
    identity = identity_of(request)
    if identity.sees_all:
        return
    if task is None or await ports.views.requester_of(task) != identity.user:
        raise Problem(403, "requesters search the ledger by a task of their own: ?task=…")
