"""`/api/decisions`: a decision among options, from ballots that were cast."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from grace_gateway.api.guard import GuardedRoute, allow, everyone
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import KEYED_AND_WAITING, WAITING, After, Limit, listing, show, submit
from grace_gateway.domain.requests import DecisionRequest
from grace_gateway.domain.roles import REQUESTER

router = APIRouter(prefix="/api/decisions", tags=["decisions"], route_class=GuardedRoute)


@router.post("", status_code=202, openapi_extra=KEYED_AND_WAITING, responses=documented(401, 403, 413, 422, 429, 503))
@allow(REQUESTER)
async def submit_decision(
    request: Request,
    body: DecisionRequest,
) -> Response:
    """Ask for a decision. `Prefer: wait=10` waits for it."""
    return await submit(request, "decision", body)


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def list_decisions(
    request: Request,
    state: str | None = None,
    requester: Annotated[str | None, Query(max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List decisions, newest first."""
    return await listing(request, "decision", state=state, requester=requester, cursor=cursor, limit=limit)


@router.get("/{decision_id}", openapi_extra=WAITING, responses=documented(401, 404, 422, 429))
@everyone
async def show_decision(request: Request, decision_id: UUID) -> Response:
    """Show a decision; `result` is null until it is reached."""
    return await show(request, "decision", decision_id)
