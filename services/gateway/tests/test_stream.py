"""`/api/stream`: facts as they come, to those who may see them, resumable, and closed when it must be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from grace_common.contract.events.candidate import ApproachProposed
from grace_common.contract.events.operation import OperationSucceeded, RequestRefused
from grace_common.contract.events.round import PoliciesPublished


class Socket:
    """One WebSocket client, speaking ASGI to the application."""

    def __init__(self, asgi: Any, query: str, headers: dict[str, str], subprotocols: list[str]) -> None:
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "scheme": "ws",
            "path": "/api/stream",
            "raw_path": b"/api/stream",
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": subprotocols,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": {"websocket.http.response": {}},
        }
        self.task = asyncio.create_task(asgi(scope, self._inbox.get, self._outbox.put))

    async def next(self) -> Any:
        async with asyncio.timeout(20):
            return await self._outbox.get()

    async def message(self) -> Any:
        return orjson.loads((await self.next())["text"])

    async def close(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def opened(
    gateway: Any, key: str | None, query: str = "", subprotocols: list[str] | None = None
) -> AsyncIterator[Socket]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    socket = Socket(gateway.door, query, headers, subprotocols or [])
    try:
        yield socket
    finally:
        await socket.close()


async def submitted(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/tasks", json={"requirements": "x"})).json()["id"])


def proposed(gateway: Any, task_id: str) -> Any:
    return gateway.happened(
        ApproachProposed.example().model_copy(update={"task_id": UUID(task_id)}), service="code-gen"
    )


async def test_facts_arrive_as_they_come(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    async with opened(gateway, "grc_ada") as socket:
        accepted = await socket.next()
        await gateway.feed.subscribed.wait()
        fact = proposed(gateway, task_id)
        message = await socket.message()

    assert accepted["type"] == "websocket.accept"
    assert (message["id"], message["type"]) == (str(fact.id), "grace.approach-proposed.v1")
    assert (message["task_id"], message["service"]) == (task_id, "code-gen")
    assert message["data"]["entry_point"] == "fibonacci"
    assert gateway.journal.events(OperationSucceeded)[-1].name == "gateway.stream"


async def test_a_stream_resumes_behind_the_last_fact_received(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    first, second = proposed(gateway, task_id), proposed(gateway, task_id)
    async with opened(gateway, "grc_ada", f"after={first.id}") as socket:
        await socket.next()
        missed = await socket.message()
        third = proposed(gateway, task_id)
        live = await socket.message()

    assert [missed["id"], live["id"]] == [str(second.id), str(third.id)]


async def test_requesters_hear_of_their_own_tasks_alone(gateway: Any, ada: httpx.AsyncClient) -> None:
    mine = await submitted(ada)
    async with gateway.client("grc_bob") as bob:
        theirs = await submitted(bob)
    async with opened(gateway, "grc_ada") as socket:
        await socket.next()
        await gateway.feed.subscribed.wait()
        proposed(gateway, theirs)
        gateway.happened(PoliciesPublished.example())
        fact = proposed(gateway, mine)
        message = await socket.message()

    assert message["id"] == str(fact.id)


async def test_a_stream_keeps_to_one_task(gateway: Any, ada: httpx.AsyncClient) -> None:
    one, other = await submitted(ada), await submitted(ada)
    async with opened(gateway, "grc_rita", f"task_id={one}") as socket:
        await socket.next()
        await gateway.feed.subscribed.wait()
        proposed(gateway, other)
        fact = proposed(gateway, one)
        message = await socket.message()

    assert message["id"] == str(fact.id)


async def test_a_browser_brings_its_key_as_a_subprotocol(gateway: Any) -> None:
    async with opened(gateway, None, subprotocols=["grace.v1", "bearer.grc_olga"]) as socket:
        accepted = await socket.next()

    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "grace.v1")


@pytest.mark.parametrize(
    ("key", "query", "status"),
    [
        (None, "", 401),
        ("grc_wrong", "", 401),
        ("grc_ada", "after=nonsense", 422),
        ("grc_ada", "after=019ac000-0000-7000-8000-0000000000ff", 404),
        ("grc_ada", "task_id=019ac000-0000-7000-8000-0000000000ff", 404),
    ],
)
async def test_a_stream_is_refused_with_a_problem_and_leaves_one_trace(
    gateway: Any, key: str | None, query: str, status: int
) -> None:
    async with opened(gateway, key, query) as socket:
        start, body = await socket.next(), await socket.next()

    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert orjson.loads(body["body"])["status"] == status
    assert [event.status for event in gateway.journal.events(RequestRefused)] == [status]


async def test_another_persons_task_is_unknown_to_a_requester(gateway: Any, ada: httpx.AsyncClient) -> None:
    task_id = await submitted(ada)
    async with opened(gateway, "grc_bob", f"task_id={task_id}") as socket:
        assert (await socket.next())["status"] == 404


async def test_a_client_that_cannot_keep_up_is_closed(gateway: Any) -> None:
    async with opened(gateway, "grc_rita") as socket:
        await socket.next()
        await gateway.feed.subscribed.wait()
        gateway.feed.drop_slow()
        closed = await socket.next()

    assert (closed["type"], closed["code"], "after" in closed["reason"]) == ("websocket.close", 1013, True)


async def test_a_silent_stream_beats_until_its_key_is_withdrawn(gateway: Any) -> None:
    quick = gateway.new_settings(stream_heartbeat_s=0.01)
    async with opened(quick, "grc_rita") as socket:
        await socket.next()
        beat = await socket.message()
        quick.keyring.replace([])
        while (closed := await socket.next())["type"] != "websocket.close":
            pass

    assert (beat["type"], closed["code"]) == ("heartbeat", 1008)
