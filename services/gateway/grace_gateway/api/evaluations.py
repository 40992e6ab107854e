"""`/api/evaluations`: having one piece of code examined, without a task around it."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from grace_common.contract.events.base import Event
from grace_common.contract.events.task import EvaluationRequested, Specification
from pydantic import ConfigDict, Field, JsonValue

from grace_gateway.api.guard import GuardedRoute, allow, everyone
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Body, IdempotencyKey, Limit, Prefer, listing, show, submit
from grace_gateway.domain.roles import REQUESTER
from grace_gateway.domain.task_rules import check_language

router = APIRouter(prefix="/api/evaluations", tags=["evaluations"], route_class=GuardedRoute)

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "specification": {
        "requirements": "Double a number",
        "entry_point": "double",
        "examples": [{"args": [2], "expected": 4}],
    },
    "code": "def double(n):\n    return 2 * n\n",
}


class EvaluationRequest(Body):
    """Code, and what it is held against."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    specification: Specification
    code: Annotated[str, Field(min_length=1, max_length=16_000)]


@router.post("", status_code=202, responses=documented(401, 403, 413, 422, 429, 503))
@allow(REQUESTER)
async def submit_evaluation(
    request: Request, body: EvaluationRequest, ports: FromPorts, key: IdempotencyKey = None, prefer: Prefer = None
) -> Response:
    """Have code examined in the sandbox. `Prefer: wait=30` waits for the report."""
    check_language(body.specification.language)

    def make(id_: UUID, user: str) -> Event:
        return EvaluationRequested(evaluation_id=id_, requester=user, specification=body.specification, code=body.code)

    return await submit(request, ports, "evaluation", body, make, key=key, prefer=prefer)


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def list_evaluations(
    request: Request,
    ports: FromPorts,
    state: str | None = None,
    requester: Annotated[str | None, Query(max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List evaluations, newest first."""
    return await listing(request, ports, "evaluation", state=state, requester=requester, cursor=cursor, limit=limit)


@router.get("/{evaluation_id}", responses=documented(401, 404, 422, 429))
@everyone
async def show_evaluation(request: Request, evaluation_id: UUID, ports: FromPorts, prefer: Prefer = None) -> Response:
    """Show an evaluation; `result` is null until it is done."""
    return await show(request, ports, "evaluation", evaluation_id, prefer)
