"""`/api/decisions`: a decision among options, from ballots that were cast."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from grace_common.contract.events.base import Event, Share
from grace_common.contract.events.task import Ballot, DecisionRequested, PastItem, Prose
from pydantic import ConfigDict, Field, JsonValue

from grace_gateway.api.guard import GuardedRoute, allow, everyone
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Body, IdempotencyKey, Limit, Prefer, listing, show, submit
from grace_gateway.domain.roles import REQUESTER
from grace_gateway.domain.task_rules import check_ballots

router = APIRouter(prefix="/api/decisions", tags=["decisions"], route_class=GuardedRoute)

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "question": "Which index type?",
    "options": ["btree", "hash"],
    "ballots": [
        {"voter": "model-a", "choice": "btree"},
        {"voter": "model-b", "choice": "btree"},
        {"voter": "model-c", "choice": "hash"},
    ],
}


class DecisionRequest(Body):
    """A question with its options, and who voted for what."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    question: Prose
    options: Annotated[tuple[str, ...], Field(min_length=2, max_length=50)]
    ballots: Annotated[tuple[Ballot, ...], Field(min_length=1, max_length=200)]
    history: Annotated[tuple[PastItem, ...], Field(max_length=200)] = ()
    minimum_confidence: Share = 0.5


@router.post("", status_code=202, responses=documented(401, 403, 413, 422, 429, 503))
@allow(REQUESTER)
async def submit_decision(
    request: Request, body: DecisionRequest, ports: FromPorts, key: IdempotencyKey = None, prefer: Prefer = None
) -> Response:
    """Ask for a decision. `Prefer: wait=10` waits for it."""
    check_ballots(body.options, [ballot.choice for ballot in body.ballots])

    def make(id_: UUID, user: str) -> Event:
        return DecisionRequested(
            decision_id=id_,
            requester=user,
            question=body.question,
            options=body.options,
            ballots=body.ballots,
            history=body.history,
            minimum_confidence=body.minimum_confidence,
        )

    return await submit(request, ports, "decision", body, make, key=key, prefer=prefer)


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def list_decisions(
    request: Request,
    ports: FromPorts,
    state: str | None = None,
    requester: Annotated[str | None, Query(max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List decisions, newest first."""
    return await listing(request, ports, "decision", state=state, requester=requester, cursor=cursor, limit=limit)


@router.get("/{decision_id}", responses=documented(401, 404, 422, 429))
@everyone
async def show_decision(request: Request, decision_id: UUID, ports: FromPorts, prefer: Prefer = None) -> Response:
    """Show a decision; `result` is null until it is reached."""
    return await show(request, ports, "decision", decision_id, prefer)
