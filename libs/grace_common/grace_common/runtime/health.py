"""`/health`, `/ready` and `/metrics` of every service, and the server that answers them."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from grace_common.contract.errors import Refused

Application = Callable[[Any, Any, Any], Awaitable[None]]
Readiness = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Components by name; None where one is ready, else what is missing."""

_JSON: Final = b"application/json"


def probes(service: str, readiness: Readiness) -> Application:
    """Return the ASGI application of a service without a door of its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = await _answer(service, readiness, scope["path"])
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


async def _answer(service: str, readiness: Readiness, path: str) -> tuple[int, bytes, bytes]:
    if path == "/health":
        return 200, _JSON, orjson.dumps({"service": service, "status": "alive"})
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST.encode(), generate_latest()
    if path == "/ready":
        components = await readiness()
        missing = {name: why for name, why in components.items() if why is not None}
        body = {"service": service, "ready": not missing, "components": dict.fromkeys(components, "ready") | missing}
        return (503 if missing else 200), _JSON, orjson.dumps(body)
    return 404, _JSON, orjson.dumps({"title": "no such page", "status": 404, "detail": "try /health, /ready, /metrics"})


class ProbeServer(uvicorn.Server):
    """uvicorn inside our event loop; the service, not uvicorn, owns the signals."""

    def install_signal_handlers(self) -> None:
        """Leave SIGTERM and SIGINT to the service."""


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; Refused when it cannot be had. Port 0 takes a free one."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Refused(
            f"cannot listen on {host}:{port} ({error.strerror}); free it, or set GRACE_HTTP_HOST and GRACE_HTTP_PORT"
        ) from error


def server(application: Application) -> ProbeServer:
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws_max_size=64 * 1024,
        timeout_graceful_shutdown=10,
        server_header=False,
        date_header=False,
    )
    return ProbeServer(config)
