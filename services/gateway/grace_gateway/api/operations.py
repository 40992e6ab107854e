"""`/api/operations`: what was done, by whom, how it ended, and the entries that prove it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, allow, everyone, identity_of
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Limit
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.operation_view import operation_view
from grace_gateway.domain.refusals import Unknown
from grace_gateway.domain.roles import AUDITOR, OPERATOR, REVIEWER

router = APIRouter(prefix="/api/operations", tags=["operations"], route_class=GuardedRoute)

_MOST_ENTRIES = 1_000
Text = Annotated[str | None, Query(max_length=200)]


@router.get("", responses=documented(401, 403, 422, 429))
@allow(REVIEWER, OPERATOR, AUDITOR)
async def list_operations(
    ports: FromPorts,
    subject: Text = None,
    name: Text = None,
    actor: Text = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """List operations, newest first."""
    after = Cursor.decode(cursor) if cursor is not None else None
    page = await ports.views.operations(subject=subject, name=name, actor=actor, after=after, limit=limit)
    return json_answer({"items": list(page.items), "next_cursor": page.next_cursor})


@router.get("/{operation_id}", responses=documented(401, 404, 422, 429))
@everyone
async def show_operation(request: Request, operation_id: UUID, ports: FromPorts) -> Response:
    """Show an operation: key generated, started, statements, outcome, ledger entries. Requesters see their own."""
    identity = identity_of(request)
    entries = await ports.views.ledger(LedgerQuery(_MOST_ENTRIES, operation_id=operation_id, newest_first=False))
    operation = await ports.views.operation(operation_id)
    view = operation_view(operation, entries)
    actors = {operation["actor"]} if operation else {entry["actor"] for entry in entries}
    if view is None or not (identity.sees_all or identity.user in actors):
        raise Unknown(f"there is no operation {operation_id}")
    return json_answer(view)
