"""`/api/memory`: what Grace learned of ended tasks."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, everyone
from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import documented
from grace_gateway.api.submitting import After, Limit
from grace_gateway.domain.cursor import Cursor

router = APIRouter(prefix="/api/memory", tags=["memory"], route_class=GuardedRoute)


@router.get("/lessons", responses=documented(401, 422, 429))
@everyone
async def lessons(
    ports: FromPorts,
    search: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """Search the lessons alone, newest first."""
    after = Cursor.decode(cursor) if cursor is not None else None
    page = await ports.views.memory(search=search, outcome=None, after=after, limit=limit)
    items = [{name: item[name] for name in ("task_id", "outcome", "lesson", "learned_at")} for item in page.items]
    return json_answer({"items": items, "next_cursor": page.next_cursor})


@router.get("/outcomes", responses=documented(401, 422, 429))
@everyone
async def outcomes(
    ports: FromPorts,
    search: Annotated[str | None, Query(min_length=1, max_length=200, description="words, as in a web search")] = None,
    outcome: Literal["completed", "failed", "cancelled"] | None = None,
    cursor: After = None,
    limit: Limit = 50,
) -> Response:
    """Search the outcomes of ended tasks with the lesson of each, newest first."""
    after = Cursor.decode(cursor) if cursor is not None else None
    page = await ports.views.memory(search=search, outcome=outcome, after=after, limit=limit)
    return json_answer({"items": list(page.items), "next_cursor": page.next_cursor})
