"""Every route says who may come in; probes and the published log stand beside the door."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from grace_gateway.api.guard import GuardedRoute, allowed_roles
from grace_gateway.api.limits import RateLimit
from grace_gateway.domain.roles import ROLES

BESIDE = {"/api/health", "/health", "/api/ready", "/ready", "/metrics", "/log/{path:path}"}


def routes(app: Any) -> Iterator[APIRoute]:
    """Yield every HTTP route of our own, those of included routers too."""
    for route in app.routes:
        router = getattr(route, "original_router", None)
        for one in router.routes if router is not None else [route]:
            if isinstance(one, APIRoute):
                yield one


def test_every_route_beside_the_door_is_known_and_every_other_declares_its_roles(gateway: Any) -> None:
    found = list(routes(gateway.app))
    guarded = [route for route in found if isinstance(route, GuardedRoute)]

    assert len(guarded) > 35
    assert {route.path for route in found} - {route.path for route in guarded} == BESIDE
    assert all(allowed_roles(route) <= set(ROLES) for route in guarded)


async def test_every_guarded_route_refuses_strangers_and_wrong_roles(gateway: Any) -> None:
    roomy = gateway.new_settings(auth_failure_rate="1000/second")
    roomy.add_key("grc_nobody", "nobody")
    id_ = "019ac000-0000-7000-8000-000000000001"
    async with roomy.client() as stranger, roomy.client("grc_nobody") as nobody:
        for route in routes(roomy.app):
            if not isinstance(route, GuardedRoute):
                continue
            path = route.path.replace("{index}", "0").replace("{path:path}", "x")
            for name in ("task_id", "evaluation_id", "decision_id", "operation_id", "key_id", "refusal_id"):
                path = path.replace(f"{{{name}}}", id_)
            for method in route.methods:
                assert (await stranger.request(method, path)).status_code == 401
                assert (await nobody.request(method, path)).status_code == 403


def test_a_route_that_declares_no_roles_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)

    async def anything() -> None: ...

    with pytest.raises(TypeError, match="who may call it"):
        router.get("/open")(anything)


async def test_probes_and_metrics_need_no_key_and_leave_no_trace(gateway: Any) -> None:
    async with gateway.client() as client:
        health = await client.get("/api/health")
        ready = await client.get("/api/ready")
        gateway.components["database"] = "PostgreSQL does not answer"
        waiting = await client.get("/ready")
        metrics = await client.get("/metrics")

    assert (health.json()["status"], ready.status_code, ready.json()["ready"]) == ("alive", 200, True)
    assert (waiting.status_code, waiting.json()["components"]) == (503, {"database": "PostgreSQL does not answer"})
    assert "grace_operations_total" in metrics.text
    assert gateway.journal.stated == []


async def test_the_published_log_is_public_and_its_tiles_never_change(gateway: Any) -> None:
    gateway.publication.files |= {"checkpoint": b"grace\n", "tile/0/000": b"\1\2"}
    async with gateway.client() as client:
        checkpoint, tile = await client.get("/log/checkpoint"), await client.get("/log/tile/0/000")
        absent = await client.get("/log/tile/0/001")

    assert (checkpoint.content, checkpoint.headers["cache-control"]) == (b"grace\n", "no-cache")
    assert (tile.content, "immutable" in tile.headers["cache-control"]) == (b"\1\2", True)
    assert (absent.status_code, absent.headers["content-type"]) == (404, "application/problem+json")


async def test_the_openapi_document_shows_bodies_examples_and_problems(gateway: Any) -> None:
    async with gateway.client() as client:
        document = (await client.get("/openapi.json")).json()

    post = document["paths"]["/api/tasks"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("TaskRequest")
    assert {parameter["name"] for parameter in post["parameters"]} == {"Idempotency-Key", "Prefer"}
    assert "application/problem+json" in post["responses"]["422"]["content"]
    assert document["components"]["schemas"]["TaskRequest"]["examples"]
    assert document["components"]["schemas"]["ProblemDetails"]["required"]
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_a_rate_begins_anew_with_each_period() -> None:
    seconds = [0.0]
    limit = RateLimit("2/minute", lambda: seconds[0])

    first = [limit.admits("ada") for _ in range(3)]
    other = limit.admits("bob")
    seconds[0] = 61.0

    assert (first, other, limit.admits("ada")) == ([True, True, False], True, True)


async def test_a_key_that_was_never_loaded_makes_the_gateway_unready_not_open(gateway: Any) -> None:
    gateway.keyring._pepper = None
    async with gateway.client("grc_ada") as client:
        answer: httpx.Response = await client.get("/api/tasks")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
