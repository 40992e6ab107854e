"""`/api/evaluations`: having one piece of code examined, without a task around it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from grace_gateway.api.guard import GuardedRoute, allow, everyone
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import KEYED_AND_WAITING, WAITING, After, Limit, listing, show, submit
from grace_gateway.domain.requests import EvaluationRequest
from grace_gateway.domain.roles import REQUESTER

router = APIRouter(prefix="/api/evaluations", tags=["evaluations"], route_class=GuardedRoute)


@router.post("", status_code=202, openapi_extra=KEYED_AND_WAITING, responses=documented(401, 403, 413, 422, 429, 503))
@allow(REQUESTER)
async def submit_evaluation(
    request: Request,
    body: EvaluationRequest,
) -> Response:
    """Have code examined in the sandbox. `Prefer: wait=30` waits for the report."""
    return await submit(request, "evaluation", body)


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def list_evaluations(
    request: Request,
    state: str | None = None,
    requester: Annotated[str | None, Query(max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List evaluations, newest first."""
    return await listing(request, "evaluation", state=state, requester=requester, cursor=cursor, limit=limit)


@router.get("/{evaluation_id}", openapi_extra=WAITING, responses=documented(401, 404, 422, 429))
@everyone
async def show_evaluation(request: Request, evaluation_id: UUID) -> Response:
    """Show an evaluation; `result` is null until it is done."""
    return await show(request, "evaluation", evaluation_id)
