"""The HTTP application: every route, behind the door."""

from collections.abc import Callable

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
from grace_gateway.api.keyring import Keyring
from grace_gateway.ports import Ports


def application(
    ports: Ports, keyring: Keyring, readiness: Readiness, lagging: Callable[[], str | None]
) -> tuple[Door, FastAPI]:
    """Return the application behind its door, and the bare one for those who look at its routes."""
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
    app.state.ports = ports
    app.state.keyring = keyring
    app.state.readiness = readiness
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
    door = Door(app, ports, keyring, lagging)
    app.state.refusals = door.refusals
    return door, app
