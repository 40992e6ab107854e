"""`/log/…`: the ledger's static files, for whoever wants to check it. Public: leaves hold digests, never content."""

import asyncio
from typing import Final

from fastapi import APIRouter, Response
from grace_common.contract.errors import Unready

from grace_gateway.api.parts import FromPorts
from grace_gateway.api.problems import Problem

router = APIRouter(prefix="/log", tags=["log"])

_IMMUTABLE: Final = "public, max-age=31536000, immutable"


@router.get("/{path:path}", response_class=Response)
async def static_file(path: str, ports: FromPorts) -> Response:
    """Return a file of the log as C2SP tlog-tiles lays it out: `checkpoint`, `tile/…`, `tile/entries/…`, `vkey`."""
    try:
        content = await asyncio.to_thread(ports.publication.read, path)
    except Unready as error:
        raise Problem(404, str(error)) from error
    tile = path.startswith("tile/")
    headers = {"Cache-Control": _IMMUTABLE if tile else "no-cache", "Access-Control-Allow-Origin": "*"}
    return Response(content, 200, headers, "application/octet-stream" if tile else "text/plain; charset=utf-8")
