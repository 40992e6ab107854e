"""A gateway without services behind it: it answers as the real one does, and plays a task's life by itself.

Views come from the real gateway's pure functions over real events, so their shapes cannot drift from it.
"""

import asyncio
import json
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from grace_common.contract.errors import Unready
from grace_common.contract.events import candidate, decision, round, task
from grace_common.contract.events.base import Event
from grace_common.testing.ledger import MemoryLedger
from grace_common.transparency.statement import key_id
from grace_gateway.domain.fact import Fact
from grace_gateway.domain.task_view import task_view
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

USERS = {"ada": "requester", "grace": "reviewer", "olga": "operator", "anton": "auditor"}
GOOD = "def double(n: int) -> int:\n    return 2 * n\n"
OTHER = "def double(n: int) -> int:\n    return n + 2\n"
PATIENCE_S = 60.0
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class FakeGateway:
    """One gateway and all that it knows.

    solves      whether the candidates of the next tasks pass
    refusals    (status, headers) answered to the next requests instead of their answers
    break_after after how many messages a WebSocket is cut, once each
    asked       every request as (method, path, user, body)
    """

    solves: Callable[[str], str | None] = lambda requirements: GOOD
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    subscriptions: list[str | None] = field(default_factory=list)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    certifies: bool = False
    keys_used: list[str] = field(default_factory=list)
    url: str = ""
    receipts: dict[str, bytes] = field(default_factory=dict)
    early_receipts: int = 0

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger()
        self.order: list[Fact] = []
        self._news: list[asyncio.Event] = []
        self._background: set[asyncio.Task[None]] = set()

    # What happens behind the door

    def state(self, task_id: str, event: Event, actor: str = "grace", id: UUID | None = None) -> Fact:
        """State a fact about a task; whoever listens hears it."""
        at = NOON + timedelta(milliseconds=len(self.order))
        data = event.model_dump(mode="json")
        fact = Fact(id or uuid4(), event.TYPE, at, "gateway", actor, uuid4(), data)
        self.facts.setdefault(task_id, []).append(fact)
        self.order.append(fact)
        for news in self._news:
            news.set()
        return fact

    def propose(self, task_id: str) -> None:
        self.state(
            task_id,
            candidate.ApproachProposed(
                task_id=UUID(task_id),
                approach="enumerate",
                entry_point="double",
                signature="def double(n: int) -> int:",
                generators=("synthesis",),
                questions=("Negative numbers?",),
            ),
        )

    def run_round(self, task_id: str, number: int = 1) -> None:
        """Play one round: two candidates, the evidence, a decision with dissent, a request for approval."""
        of, round_id = UUID(task_id), uuid4()
        submitted = task.TaskSubmitted.model_validate(self.facts[task_id][0].data)
        self.state(
            task_id,
            round.RoundOpened(
                task_id=of,
                round_id=round_id,
                number=number,
                approach="enumerate",
                specification=submitted.specification,
                findings=("example 2 failed",) if number > 1 else (),
            ),
        )
        code = self.solves(submitted.specification.requirements)
        if code is None:
            self.state(
                task_id, candidate.GenerationFailed(task_id=of, round_id=round_id, reason="no program in budget")
            )
            self.state(task_id, round.TaskFailed(task_id=of, reason="no candidate was made", state="generating"))
            return
        ids = (uuid4(), uuid4())
        for ordinal, (id_, text) in enumerate(zip(ids, (code, OTHER), strict=True)):
            digest = sha256(text.encode()).hexdigest()
            about = {"task_id": of, "round_id": round_id, "candidate_id": id_, "generator": "synthesis"}
            self.state(task_id, candidate.CandidateGenerated(**about, ordinal=ordinal, code=text, code_sha256=digest))
            checks = [{"name": "examples", "verdict": "failed" if ordinal else "passed", "note": ""}]
            self.state(
                task_id,
                candidate.CandidateEvaluated(
                    **about,
                    code_sha256=digest,
                    report_sha256="02" * 32,
                    quality_score=0.9 - 0.5 * ordinal,
                    passed=2 - ordinal,
                    failed=ordinal,
                    report={"checks": checks},
                ),
            )
        probe = candidate.Probe(id="e0", kind="example", label="double(2) == 4", expected=0)
        self.state(
            task_id,
            candidate.CandidatesGenerated(
                task_id=of,
                round_id=round_id,
                entry_point="double",
                probes=(probe,),
                rows=(),
                notes=("no model is configured",),
            ),
        )
        dissent = decision.Dissent(members=(str(ids[1]),), weight=0.2, differs="double(3): 5 instead of 6")
        self.state(
            task_id,
            decision.DecisionReached(
                task_id=of,
                round_id=round_id,
                verdict="chosen",
                winner_id=ids[0],
                confidence=0.8,
                method="functional-agreement@1",
                dissent=(dissent,),
                candidates=2,
            ),
        )
        wanted = round.ApprovalRequested(
            task_id=of,
            round_id=round_id,
            candidate_id=ids[0],
            digest=f"{number:02x}" * 32,
            artifact_sha256=sha256(code.encode()).hexdigest(),
            report_sha256="02" * 32,
            decision_sha256="03" * 32,
            required_approvals=1,
            confidence=0.8,
            policy="approval@1",
        )
        self.state(task_id, wanted)

    def complete(self, task_id: str, by: str) -> None:
        view = self.view(task_id)
        code = next(
            one["code"] for one in view["candidates"] if one["candidate_id"] == view["approval"]["candidate_id"]
        )
        self.state(
            task_id, round.ApprovalRecorded(task_id=UUID(task_id), by=by, digest=view["approval"]["digest"], missing=0)
        )
        delivery = MemoryLedger().deliver(code.encode())
        self.receipts[task_id] = delivery.receipt.encode()
        example = round.TaskCompleted.example()
        self.state(
            task_id,
            example.model_copy(
                update={
                    "task_id": UUID(task_id),
                    "code": code,
                    "entry_point": "double",
                    "approved_by": (by,),
                    "confidence": 0.8,
                }
            ),
        )

    def view(self, task_id: str) -> dict[str, Any]:
        return task_view(self.facts[task_id])

    def until(self, task_id: str, state: str) -> None:
        """Wait until a task is in a state."""
        deadline = time.monotonic() + PATIENCE_S
        while self.view(task_id)["state"] != state:
            assert time.monotonic() < deadline, self.view(task_id)["state"]
            time.sleep(0.01)

    def until_subscribed(self) -> None:
        """Wait until somebody listens."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._news:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    # The door

    async def answer(self, request: Request) -> Response:
        user = request.headers.get("authorization", "").removeprefix("Bearer key-of-")
        body = json.loads(await request.body() or b"null")
        self.asked.append((request.method, request.url.path, user, body))
        if "idempotency-key" in request.headers:
            self.keys_used.append(request.headers["idempotency-key"])
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return problem(status, "as the test wishes", headers)
        if request.url.path.startswith("/log/"):
            try:
                return Response(self.ledger.log.read(request.url.path.removeprefix("/log/")))
            except Unready as error:
                return problem(404, str(error))
        if user not in USERS:
            return problem(401, "the API key is unknown or was revoked")
        path = request.url.path.removeprefix("/api/").split("/")
        if path[0] == "tasks":
            return self._tasks(request, user, path[1:], body)
        return self._lists(request, path, body)

    def _tasks(self, request: Request, user: str, path: list[str], body: Any) -> Response:
        if not path and request.method == "POST":
            return self._submit(user, body)
        if not path:
            views = [task_view(facts) for facts in self.facts.values()]
            items = [
                {name: view[name] for name in ("id", "state", "waiting_for", "requester", "submitted_at")}
                | {"title": view["specification"]["requirements"]}
                for view in reversed(views)
            ]
            return JSONResponse({"items": items, "next_cursor": None})
        task_id = path[0]
        if task_id not in self.facts:
            return problem(404, f"there is no task {task_id}")
        if len(path) == 1:
            return JSONResponse(self.view(task_id))
        if path[1] == "artifact":
            return Response(self.view(task_id)["artifact"]["code"])
        if path[1] == "receipt":
            if self.early_receipts:
                self.early_receipts -= 1
                return problem(409, "not sealed yet", {"Retry-After": "0"})
            return Response(self.receipts[task_id])
        return self._asked_of(task_id, path[1], user, body)

    def _submit(self, user: str, body: Any) -> Response:
        task_id = uuid4()
        fields = {name: body[name] for name in ("mode", "candidates", "deadline_s") if name in body}
        rest = {name: value for name, value in body.items() if name not in fields}
        try:
            event = task.TaskSubmitted(task_id=task_id, requester=user, specification=rest, **fields)
        except ValueError as error:
            return problem(422, str(error).splitlines()[-2].strip())
        self.state(str(task_id), event, user, id=task_id)
        self._soon(self.propose, str(task_id))
        return JSONResponse(self.view(str(task_id)), 202)

    def _asked_of(self, task_id: str, what: str, user: str, body: Any) -> Response:
        of, view = UUID(task_id), self.view(task_id)
        if view["state"] in ("completed", "failed", "cancelled"):
            return problem(409, f"the task is {view['state']}: nothing can be asked of it any more")
        roles = (USERS[user],)
        if what == "guidance":
            self.state(task_id, task.GuidanceGiven(task_id=of, by=user, **body), user)
            self._soon(self.run_round, task_id)
        elif what == "cancellation":
            self.state(task_id, round.TaskCancelled(task_id=of, by=user, **body), user)
        elif view["requester"] == user:
            return problem(403, "the requester's own review never counts: another person must give it")
        elif body["digest"] != view["approval"]["digest"]:
            return problem(409, f"the digest is stale: {view['approval']['digest']} is up for approval now")
        elif what == "approval":
            self.state(task_id, task.ApprovalGiven(task_id=of, by=user, roles=roles, **body), user)
            self._soon(self.complete, task_id, user)
        elif what == "changes":
            self.state(task_id, task.ChangesRequested(task_id=of, by=user, roles=roles, **body), user)
            self._soon(self.run_round, task_id, 2)
        else:
            self.state(task_id, task.ApprovalDenied(task_id=of, by=user, roles=roles, **body), user)
            self._soon(
                self.state, task_id, round.TaskFailed(task_id=of, reason=body["reason"], state="awaiting-approval")
            )
        return JSONResponse({"event_id": str(uuid4()), "task": view}, 202)

    def _lists(self, request: Request, path: list[str], body: Any) -> Response:
        name = "/".join(path)
        if request.method == "POST" and name == "keys/producers" and self.certifies:
            self._certify(body)
        if request.method == "POST":
            return JSONResponse({"event_id": str(uuid4()), **(body or {})}, 202)
        if name in self.things:
            return JSONResponse(self.things[name])
        if name in self.lists:
            start = int(request.query_params.get("cursor", "0"))
            limit = int(request.query_params.get("limit", "50"))
            items = self.lists[name]
            after = str(start + limit) if start + limit < len(items) else None
            return JSONResponse({"items": items[start : start + limit], "next_cursor": after})
        return problem(404, f"there is no {name}")

    def _certify(self, body: Any) -> None:
        """Certify a producer's key, as the crypto-signer does some time after it was enrolled."""
        known = {"key_id": key_id(b64decode(body["public_key"])), "subject": f"producer/{body['name']}"}
        of_time = {"not_before": NOON.isoformat(), "not_after": body["valid_until"], "revoked_at": None, "reason": None}
        certificate = b64encode(b"a certificate").decode()
        self.lists["keys"].append(known | of_time | {"roles": body["roles"], "certificate": certificate})

    async def stream(self, websocket: WebSocket) -> None:
        query = websocket.query_params
        task_id, after = query["task_id"], query.get("after")
        self.subscriptions.append(after)
        known = [str(fact.id) for fact in self.order]
        if after is not None and after not in known:
            await websocket.send_denial_response(problem(404, f"there is no event {after} to resume from"))
            return
        if websocket.headers.get("authorization", "").removeprefix("Bearer key-of-") not in USERS:
            await websocket.send_denial_response(problem(401, "the API key is unknown or was revoked"))
            return
        await websocket.accept()
        limit = self.break_after.pop(0) if self.break_after else None
        at = known.index(after) + 1 if after else len(known)
        sent = 0
        news = asyncio.Event()
        self._news.append(news)
        await websocket.send_json({"type": "heartbeat", "at": NOON.isoformat()})
        try:
            while True:
                news.clear()
                for fact in self.order[at:]:
                    at += 1
                    if fact.data.get("task_id") != task_id:
                        continue
                    if limit is not None and sent >= limit:
                        await websocket.close(1013, "too slow")
                        return
                    sent += 1
                    await websocket.send_json(message(fact, task_id))
                waiting = asyncio.create_task(news.wait())
                gone = asyncio.create_task(websocket.receive())
                await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if gone.done():
                    return
                gone.cancel()
        except WebSocketDisconnect:
            return
        finally:
            self._news.remove(news)

    def _soon(self, do: Callable[..., object], *arguments: Any) -> None:
        async def later() -> None:
            await asyncio.sleep(0)
            do(*arguments)

        running = asyncio.get_running_loop().create_task(later())
        self._background.add(running)
        running.add_done_callback(self._background.discard)


def message(fact: Fact, task_id: str) -> dict[str, Any]:
    return {
        "id": str(fact.id),
        "type": fact.type,
        "at": fact.time.isoformat(),
        "service": fact.service,
        "actor": fact.actor,
        "operation_id": str(fact.operation),
        "task_id": task_id,
        "data": dict(fact.data),
    }


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {"type": "urn:grace:problem:x", "title": "x", "status": status, "detail": detail, "instance": "/"}
    return JSONResponse(body, status, headers, "application/problem+json")


def serve(gateway: FakeGateway) -> Callable[[], None]:
    """Serve on a free loopback port in a thread; return what stops it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield

    routes = [
        WebSocketRoute("/api/stream", gateway.stream),
        Route("/{path:path}", gateway.answer, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    listener = socket.create_server(("127.0.0.1", 0))
    gateway.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)

    def stop() -> None:
        server.should_exit = True
        thread.join()

    return stop
