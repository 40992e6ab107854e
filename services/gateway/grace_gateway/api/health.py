"""Probes and metrics: beside the door, for machines that watch."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from grace_gateway.api.answers import json_answer

router = APIRouter(tags=["health"])


@router.get("/api/health")
@router.get("/health", include_in_schema=False)
async def health() -> Response:
    """Tell that the process lives."""
    return json_answer({"service": "gateway", "status": "alive"})


@router.get("/api/ready")
@router.get("/ready", include_in_schema=False)
async def ready(request: Request) -> Response:
    """Tell whether everything the gateway needs is there, and what is missing."""
    components = await request.app.state.readiness()
    missing = {name: why for name, why in components.items() if why is not None}
    body = {"service": "gateway", "ready": not missing, "components": dict.fromkeys(components, "ready") | missing}
    return json_answer(body, 503 if missing else 200)


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """Return the metrics in Prometheus's text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
