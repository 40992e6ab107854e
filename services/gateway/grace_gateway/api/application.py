"""The HTTP application: every route, behind the door."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from grace_common.runtime.health import Readiness

from grace_gateway.api import (
    auth,
    decisions,
    evaluations,
    governance,
    health,
    keys,
    ledger,
    log,
    memory,
    operations,
    problems,
    receipt,
    schemas,
    stream,
    tasks,
)
from grace_gateway.api.door import Door
from grace_gateway.api.express import Express, Lane
from grace_gateway.api.keyring import Keyring
from grace_gateway.domain.requests import DecisionRequest, EvaluationRequest, TaskRequest
from grace_gateway.ports import Ports


def routes() -> FastAPI:
    """Return the bare application: every route, nobody's ports yet."""
    app = FastAPI(
        title="Grace",
        version="0.1.0",
        summary="From a request to proven code",
        docs_url="/docs",
        redoc_url=None,
        openapi_url="/openapi.json",
        # The door continues traces and the operation's record says what was done; FastAPI's own spans and metrics would
        # cost more than the endpoint.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    problems.install(app)
    for module in (
        tasks,
        receipt,
        evaluations,
        decisions,
        auth,
        ledger,
        operations,
        keys,
        governance,
        memory,
        schemas,
        health,
        log,
        stream,
    ):
        app.include_router(module.router)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        """Return the OpenAPI document with what FastAPI cannot know: the problems' schema, and how clients identify."""
        document = described()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["ProblemDetails"] = problems.PROBLEM_SCHEMA
        components["securitySchemes"] = {"ApiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "grc_…"}}
        document["security"] = [{"ApiKey": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
    return app


def application(
    app: FastAPI, ports: Ports, keyring: Keyring, readiness: Readiness, lagging: Callable[[], str | None]
) -> Door:
    """Return `app` behind its door, with these ports."""
    app.state.ports = ports
    app.state.keyring = keyring
    app.state.readiness = readiness
    express = Express(
        app,
        [
            Lane("/api/tasks", TaskRequest, tasks.submit_task),
            Lane("/api/evaluations", EvaluationRequest, evaluations.submit_evaluation),
            Lane("/api/decisions", DecisionRequest, decisions.submit_decision),
        ],
    )
    door = Door(express, ports, keyring, lagging)
    app.state.refusals = door.refusals
    return door
