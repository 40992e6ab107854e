"""`/api/schemas`: the contracts, as generated from the event classes."""

from typing import Final

from fastapi import APIRouter, Request, Response
from grace_common.contract import schemas

from grace_gateway.api.answers import json_answer
from grace_gateway.api.guard import GuardedRoute, everyone
from grace_gateway.api.problems import documented
from grace_gateway.domain.refusals import Unknown

router = APIRouter(prefix="/api/schemas", tags=["schemas"], route_class=GuardedRoute)

_FILES: Final = schemas.event_files()


@router.get("", responses=documented(401, 429))
@everyone
async def list_schemas() -> Response:
    """List the schema and example files by path."""
    items = [{"path": path, "url": f"/api/schemas/{path}"} for path in sorted(_FILES)]
    return json_answer({"items": items, "next_cursor": None})


@router.get("/{path:path}", responses=documented(401, 404, 429))
@everyone
async def show_schema(request: Request, path: str) -> Response:
    """Return one schema (JSON Schema, draft 2020-12) or example."""
    if path not in _FILES:
        raise Unknown(f"there is no schema {path[:100]}; GET /api/schemas lists them")
    kind = "application/schema+json" if path.endswith(".schema.json") else "application/json"
    return Response(_FILES[path], media_type=kind)
