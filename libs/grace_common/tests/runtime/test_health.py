"""/health, /ready and /metrics, over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from grace_common.contract.errors import Refused
from grace_common.runtime.health import listening, probes, server


class Parts:
    """What a service is made of; None where a part is ready."""

    missing: Mapping[str, str | None] = {"database": None, "broker": None}

    async def readiness(self) -> Mapping[str, str | None]:
        return self.missing


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    with listening("127.0.0.1", 0) as listener:
        http = server(probes("consensus", parts.readiness))
        serving = asyncio.create_task(http.serve([listener]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
        http.should_exit = True
        await serving


async def test_a_process_that_answers_is_alive(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"service": "consensus", "status": "alive"})
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "server" not in answer.headers


async def test_a_service_is_ready_when_every_part_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ready")

    assert answer.status_code == 200
    assert answer.json() == {
        "service": "consensus",
        "ready": True,
        "components": {"database": "ready", "broker": "ready"},
    }


async def test_a_service_that_is_not_ready_says_what_is_missing(client: httpx.AsyncClient, parts: Parts) -> None:
    parts.missing = {"database": None, "broker": "Kafka does not answer"}

    answer = await client.get("/ready")

    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["components"] == {"database": "ready", "broker": "Kafka does not answer"}


async def test_metrics_are_in_prometheus_words(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE grace_records_handled_total counter" in answer.text


async def test_any_other_page_is_not_there_and_says_which_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/admin")

    assert (answer.status_code, answer.json()["detail"]) == (404, "try /health, /ready, /metrics")


async def test_a_websocket_finds_nobody(client: httpx.AsyncClient) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }

    assert (await client.get("/health", headers=upgrade)).status_code in (200, 403, 500)


def test_a_taken_port_is_named_with_the_settings_that_move_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(Refused, match=rf"cannot listen on 127\.0\.0\.1:{port} .*GRACE_HTTP_PORT"):
            listening("127.0.0.1", port)
