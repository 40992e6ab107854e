"""`/api/stream`: the read model's facts over a WebSocket, as they come, resumable from the last one received.

The key comes in `Authorization`, or, from browsers, as a subprotocol: `grace.v1, bearer.grc_…`. Each message is one
fact; `?after=<id>` resumes behind it, `?task_id=` keeps to one task. Clients that cannot keep up are closed with 1013.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import UUID

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from grace_common.contract.errors import Unready
from grace_common.runtime.operation import Operation

from grace_gateway.api.answers import json_bytes
from grace_gateway.api.door import address_of
from grace_gateway.api.keyring import Keyring, Unauthenticated
from grace_gateway.api.problems import problem_response
from grace_gateway.api.refusing import ANONYMOUS, Refusals, client_name, new_operation
from grace_gateway.domain.roles import Identity
from grace_gateway.ports import Entry, Ports, Positioned

router = APIRouter()

SUBPROTOCOL: Final = "grace.v1"
TOO_SLOW: Final = 1013  # RFC 6455 registry: try again later
NOT_ALLOWED: Final = 1008  # policy violation
_BEARER: Final = "bearer."
_REPLAYED_AT_ONCE: Final = 200
_MOST_REMEMBERED: Final = 10_000


class StreamRefused(Exception):
    """The subscription is refused before it begins."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@router.websocket("/api/stream")
async def stream(websocket: WebSocket) -> None:
    """Send facts until the client goes, is too slow, or its key is withdrawn."""
    ports: Ports = websocket.app.state.ports
    keyring: Keyring = websocket.app.state.keyring
    operation = new_operation(ports, ports.clock.new_id(), ANONYMOUS, "/api/stream")
    operation.name = "gateway.stream"
    identity: Identity | None = None
    try:
        key = _key(websocket)
        identity = _identify(ports, keyring, key)
        operation.actor = identity.user
        task_id = _uuid(websocket, "task_id")
        start = await _start(ports, _uuid(websocket, "after"))
        await _check_task(ports, identity, task_id)
    except StreamRefused as refusal:
        await _refuse(websocket, operation, identity, refusal)
        return
    await ports.journal.commit(Entry(operation.success(ports.clock.now())))
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None,
        headers=[(b"grace-operation-id", str(operation.id).encode())],
    )
    subscription = Subscription(websocket, ports, keyring, key, identity, task_id)
    await subscription.run(start)


class Subscription:
    """One client that listens."""

    def __init__(
        self, websocket: WebSocket, ports: Ports, keyring: Keyring, key: str, identity: Identity, task_id: UUID | None
    ) -> None:
        self._websocket = websocket
        self._ports = ports
        self._keyring = keyring
        self._key = key
        self._identity = identity
        self._task_id = task_id
        self._requesters: dict[UUID, str | None] = {}

    async def run(self, start: int | None) -> None:
        """Send until one side ends it; then say why."""
        sending = asyncio.create_task(self._send_facts(start))
        beating = asyncio.create_task(self._heartbeat())
        gone = asyncio.create_task(self._until_gone())
        tasks = (sending, beating, gone)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if results[2] is None:
            return
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | Unauthenticated):
                raise result
        if isinstance(results[1], Unauthenticated):
            await self._websocket.close(NOT_ALLOWED, str(results[1]))
        elif results[0] is None:
            await self._websocket.close(TOO_SLOW, "too slow: reconnect with ?after=<last id>")

    async def _send_facts(self, start: int | None) -> None:
        async for batch in facts_from(self._ports, start):
            for one in batch:
                if await self._may_see(one):
                    await self._websocket.send_text(message_of(one))

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._ports.settings.stream_heartbeat_s)
            now = self._ports.clock.now()
            self._keyring.identify_key(self._key, now)
            await self._websocket.send_text(json_bytes({"type": "heartbeat", "at": now}).decode())

    async def _until_gone(self) -> None:
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass

    async def _may_see(self, one: Positioned) -> bool:
        if self._task_id is not None and one.submission_id != self._task_id:
            return False
        if self._identity.sees_all:
            return True
        if one.submission_id is None:
            return False
        if one.submission_id not in self._requesters:
            if len(self._requesters) >= _MOST_REMEMBERED:
                self._requesters.clear()
            self._requesters[one.submission_id] = await self._ports.views.requester_of(one.submission_id)
        return self._requesters[one.submission_id] == self._identity.user


async def facts_from(ports: Ports, start: int | None) -> AsyncIterator[Sequence[Positioned]]:
    """Yield the facts behind the position `start`, then the new ones as they come; None begins with the new ones.

    The subscription begins before the past is read, so nothing falls between; positions drop what comes twice.
    """
    async with ports.feed.subscribe() as live:
        last = start
        while last is not None and (past := await ports.views.facts_after(last, _REPLAYED_AT_ONCE)):
            yield past
            last = past[-1].position
        async for batch in live:
            fresh = [one for one in batch if last is None or one.position > last]
            if fresh:
                yield fresh
                last = fresh[-1].position


def message_of(one: Positioned) -> str:
    """Return the message that tells of one fact."""
    fact = one.fact
    return json_bytes(
        {
            "id": fact.id,
            "type": fact.type,
            "at": fact.time,
            "service": fact.service,
            "actor": fact.actor,
            "operation_id": fact.operation,
            "task_id": one.submission_id,
            "data": fact.data,
        }
    ).decode()


def _key(websocket: WebSocket) -> str:
    scheme, _, key = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    for offered in websocket.scope.get("subprotocols", []):
        if offered.startswith(_BEARER):
            return str(offered.removeprefix(_BEARER))
    raise StreamRefused(401, f"an API key is needed, in Authorization or as the subprotocol {_BEARER}<key>")


def _identify(ports: Ports, keyring: Keyring, key: str) -> Identity:
    try:
        return keyring.identify_key(key, ports.clock.now())
    except Unauthenticated as error:
        raise StreamRefused(401, str(error)) from error
    except Unready as error:
        raise StreamRefused(503, str(error)) from error


def _uuid(websocket: WebSocket, name: str) -> UUID | None:
    text = websocket.query_params.get(name)
    try:
        return UUID(text) if text is not None else None
    except ValueError as error:
        raise StreamRefused(422, f"{name} is no UUID") from error


async def _start(ports: Ports, after: UUID | None) -> int | None:
    if after is None:
        return None
    position = await ports.views.position_of(after)
    if position is None:
        raise StreamRefused(404, f"there is no event {after} to resume from")
    return position


async def _check_task(ports: Ports, identity: Identity, task_id: UUID | None) -> None:
    if task_id is None:
        return
    requester = await ports.views.requester_of(task_id)
    if requester is None or not identity.sees(requester):
        raise StreamRefused(404, f"there is no task {task_id}")


async def _refuse(
    websocket: WebSocket, operation: Operation, identity: Identity | None, refusal: StreamRefused
) -> None:
    """Answer the handshake with a problem document, where the server can; leave the trace."""
    ports: Ports = websocket.app.state.ports
    refusals: Refusals = websocket.app.state.refusals
    client = client_name(identity, address_of(websocket.scope))
    traces = refusals.trace(operation, client, "GET", "/api/stream", refusal.status, refusal.detail)
    if traces:
        await ports.journal.commit(Entry(traces))
    headers = {"WWW-Authenticate": 'Bearer realm="grace"'} if refusal.status == 401 else {}
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        answer = problem_response(refusal.status, refusal.detail, instance="/api/stream", headers=headers)
        await websocket.send_denial_response(answer)
    else:
        await websocket.close(NOT_ALLOWED, refusal.detail)
