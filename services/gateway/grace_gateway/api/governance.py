"""`/api/governance`: the approval inbox, the policies, and what had no effect."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from grace_common.contract.events.task import ReplayRequested
from pydantic import Field

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Limit, state
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.refusals import Conflicting, Unknown
from grace_gateway.domain.requests import Body
from grace_gateway.domain.roles import AUDITOR, OPERATOR, REVIEWER
from grace_gateway.domain.task_view import task_view
from grace_gateway.ports import SubmissionQuery

router = APIRouter(prefix="/api/governance", tags=["governance"], route_class=GuardedRoute)


class Replay(Body):
    """`consumer`: which service handles it again; needed when several refused the record."""

    consumer: Annotated[str, Field(max_length=100)] | None = None


@router.get("/approvals", responses=documented(401, 403, 422, 429))
@allow(REVIEWER, OPERATOR, AUDITOR)
async def approvals(request: Request, ports: FromPorts, cursor: After = None, limit: Limit = 20) -> Response:
    """List the tasks that wait for approval, newest first, each with what is to be approved."""
    after = Cursor.decode(cursor) if cursor is not None else None
    page = await ports.views.submissions(SubmissionQuery("task", limit, waiting_for="approval", after=after))
    items = []
    for item in page.items:
        task = task_view(await ports.views.facts(item["id"]))
        approval = task["approval"] or {}
        chosen = [one for one in task["candidates"] if one["candidate_id"] == approval.get("candidate_id")]
        items.append(
            {
                "task_id": task["id"],
                "requester": task["requester"],
                "requirements": task["specification"]["requirements"],
                "own": task["requester"] == identity_of(request).user,
                "approval": task["approval"],
                "candidate": chosen[0] if chosen else None,
                "decision": task["decision"],
            }
        )
    return json_answer({"items": items, "next_cursor": page.next_cursor})


@router.get("/policies", responses=documented(401, 429))
@everyone
async def policies(ports: FromPorts) -> Response:
    """List the policies the orchestrator decides by, every version that was ever in force."""
    return json_answer({"items": await ports.views.policies(), "next_cursor": None})


@router.get("/dead-letters", responses=documented(401, 403, 422, 429))
@allow(OPERATOR, AUDITOR)
async def dead_letters(
    ports: FromPorts,
    consumer: Annotated[str | None, Query(max_length=100)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List the records that had no effect, newest first, each with its reason."""
    after = Cursor.decode(cursor) if cursor is not None else None
    page = await ports.views.dead_letters(consumer=consumer, after=after, limit=limit)
    return json_answer({"items": list(page.items), "next_cursor": page.next_cursor})


@router.get("/dead-letters/{refusal_id}", responses=documented(401, 403, 404, 422, 429))
@allow(OPERATOR, AUDITOR)
async def dead_letter(refusal_id: UUID, ports: FromPorts) -> Response:
    """Show a record that had no effect, whole; one item for each service that refused it."""
    found = await ports.views.dead_letter(refusal_id)
    if not found:
        raise Unknown(f"there is no dead letter {refusal_id}")
    return json_answer({"items": found, "next_cursor": None})


@router.post(
    "/dead-letters/{refusal_id}/replay", status_code=202, responses=documented(401, 403, 404, 409, 422, 429, 503)
)
@allow(OPERATOR)
async def replay(request: Request, refusal_id: UUID, body: Replay, ports: FromPorts) -> Response:
    """Have a record handled again by the service that refused it, from its place in its topic."""
    found = [one for one in await ports.views.dead_letter(refusal_id) if body.consumer in (None, one["consumer"])]
    if not found:
        raise Unknown(f"there is no dead letter {refusal_id}" + (f" of {body.consumer}" if body.consumer else ""))
    if len(found) > 1:
        names = ", ".join(sorted(one["consumer"] for one in found))
        raise Conflicting(f"several services refused this record ({names}): name one as `consumer`")
    event = ReplayRequested(
        refusal_id=refusal_id,
        consumer=found[0]["consumer"],
        topic=found[0]["topic"],
        partition=found[0]["partition"],
        offset=found[0]["offset"],
        by=identity_of(request).user,
    )
    envelope = await state(request, event, subject=str(refusal_id))
    return json_answer({"event_id": str(envelope.id), "consumer": event.consumer}, 202)
