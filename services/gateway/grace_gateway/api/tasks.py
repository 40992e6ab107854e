"""`/api/tasks`: asking for code, guiding it, approving it, taking it home."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from grace_common.contract.events.base import Event, Sha256
from grace_common.contract.events.task import (
    ApprovalDenied,
    ApprovalGiven,
    CancellationRequested,
    ChangesRequested,
    GuidanceGiven,
)
from pydantic import Field

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of
from grace_gateway.api.parts import ports_of
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import (
    KEYED,
    KEYED_AND_WAITING,
    WAITING,
    After,
    Limit,
    current_view,
    listing,
    show,
    state,
    submit,
)
from grace_gateway.domain.refusals import Conflicting
from grace_gateway.domain.requests import Body, TaskRequest
from grace_gateway.domain.roles import OPERATOR, REQUESTER, REVIEWER
from grace_gateway.domain.task_rules import (
    check_approval,
    check_cancellation,
    check_guidance,
    check_review,
)
from grace_gateway.domain.task_view import View

router = APIRouter(prefix="/api/tasks", tags=["tasks"], route_class=GuardedRoute)


class Guidance(Body):
    """An answer to the proposed approach; empty guidance lets it go on unchanged."""

    guidance: Annotated[str, Field(max_length=4_000)] = ""


class Approval(Body):
    digest: Sha256
    comment: Annotated[str, Field(max_length=2_000)] = ""


class Changes(Body):
    digest: Sha256
    feedback: Annotated[str, Field(min_length=1, max_length=4_000)]


class Rejection(Body):
    digest: Sha256
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


class Cancellation(Body):
    reason: Annotated[str, Field(max_length=2_000)] = ""


@router.post("", status_code=202, openapi_extra=KEYED_AND_WAITING, responses=documented(401, 403, 413, 422, 429, 503))
@allow(REQUESTER)
async def submit_task(
    request: Request,
    body: TaskRequest,
) -> Response:
    """Ask for code. 202 means that the task is durable; `Location` names it."""
    return await submit(request, "task", body)


@router.get("", responses=documented(401, 403, 422, 429))
@everyone
async def list_tasks(
    request: Request,
    state: str | None = None,
    requester: Annotated[str | None, Query(max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List tasks, newest first. Requesters see their own, everybody else all."""
    return await listing(request, "task", state=state, requester=requester, cursor=cursor, limit=limit)


@router.get("/{task_id}", openapi_extra=WAITING, responses=documented(401, 404, 422, 429))
@everyone
async def show_task(request: Request, task_id: UUID) -> Response:
    """Show a task: state, approach, candidates with their evidence, decision, approval digest, timeline."""
    return await show(request, "task", task_id)


@router.post(
    "/{task_id}/guidance", status_code=202, openapi_extra=KEYED, responses=documented(401, 403, 404, 409, 422, 429)
)
@allow(REQUESTER, REVIEWER, OPERATOR)
async def guide(request: Request, task_id: UUID, body: Guidance) -> Response:
    """Answer the proposed approach."""
    identity = identity_of(request)
    task = await current_view(ports_of(request), "task", task_id, identity)
    check_guidance(task)
    return await _state(request, task, GuidanceGiven(task_id=task_id, by=identity.user, guidance=body.guidance))


@router.post(
    "/{task_id}/approval", status_code=202, openapi_extra=KEYED, responses=documented(401, 403, 404, 409, 422, 429)
)
@allow(REVIEWER)
async def approve(request: Request, task_id: UUID, body: Approval) -> Response:
    """Approve the exact digest of (artifact, evaluation report, decision). The requester's own approval is refused."""
    identity = identity_of(request)
    task = await current_view(ports_of(request), "task", task_id, identity)
    check_approval(task, identity, body.digest)
    roles = tuple(sorted(identity.roles))
    event = ApprovalGiven(task_id=task_id, by=identity.user, roles=roles, digest=body.digest, comment=body.comment)
    return await _state(request, task, event)


@router.post(
    "/{task_id}/changes", status_code=202, openapi_extra=KEYED, responses=documented(401, 403, 404, 409, 422, 429)
)
@allow(REVIEWER)
async def request_changes(request: Request, task_id: UUID, body: Changes) -> Response:
    """Ask for another round with this feedback."""
    identity = identity_of(request)
    task = await current_view(ports_of(request), "task", task_id, identity)
    check_review(task, identity, body.digest)
    roles = tuple(sorted(identity.roles))
    event = ChangesRequested(task_id=task_id, by=identity.user, roles=roles, digest=body.digest, feedback=body.feedback)
    return await _state(request, task, event)


@router.post(
    "/{task_id}/rejection", status_code=202, openapi_extra=KEYED, responses=documented(401, 403, 404, 409, 422, 429)
)
@allow(REVIEWER)
async def reject(request: Request, task_id: UUID, body: Rejection) -> Response:
    """Reject the result for good."""
    identity = identity_of(request)
    task = await current_view(ports_of(request), "task", task_id, identity)
    check_review(task, identity, body.digest)
    roles = tuple(sorted(identity.roles))
    event = ApprovalDenied(task_id=task_id, by=identity.user, roles=roles, digest=body.digest, reason=body.reason)
    return await _state(request, task, event)


@router.post(
    "/{task_id}/cancellation", status_code=202, openapi_extra=KEYED, responses=documented(401, 403, 404, 409, 422, 429)
)
@allow(REQUESTER, OPERATOR)
async def cancel(request: Request, task_id: UUID, body: Cancellation) -> Response:
    """Cancel a task that has not ended."""
    identity = identity_of(request)
    task = await current_view(ports_of(request), "task", task_id, identity)
    check_cancellation(task, identity)
    roles = tuple(sorted(identity.roles))
    event = CancellationRequested(task_id=task_id, by=identity.user, roles=roles, reason=body.reason)
    return await _state(request, task, event)


@router.get("/{task_id}/artifact", responses=documented(401, 404, 409, 429), response_class=Response)
@everyone
async def artifact(request: Request, task_id: UUID) -> Response:
    """Return the delivered code as `text/x-python`."""
    task = await current_view(ports_of(request), "task", task_id, identity_of(request))
    if task["artifact"] is None:
        raise Conflicting(f"the task is {task['state']}: there is no artifact{'' if task['failure'] else ' yet'}")
    name = task["artifact"]["entry_point"]
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.py"',
        "ETag": f'"{task["artifact"]["artifact_sha256"]}"',
    }
    return Response(task["artifact"]["code"].encode(), 200, headers, "text/x-python; charset=utf-8")


async def _state(request: Request, task: View, event: Event) -> Response:
    """State what was asked of a task; answer 202 with the task as it was when asked."""
    envelope = await state(request, event, subject=task["id"])
    return json_answer({"event_id": str(envelope.id), "task": task}, 202, {"Location": f"/api/tasks/{task['id']}"})
