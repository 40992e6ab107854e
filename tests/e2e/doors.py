"""The public doors of a running Grace: HTTP as one person, the WebSocket, the ledger's static files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import jsonschema_rs
from grace_common.contract.errors import Unready
from grace_common.transparency.checkpoint import Checkpoint, open_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.statement import read_leaf
from grace_common.transparency.tile import WIDTH, TreeReader
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.stack import Stack

Json = dict[str, Any]
_HEALS: Final = (429, 502, 503)
OPERATION: Final = "grace-operation-id"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a 202 answered: the event that is durable, and the operation that the request was."""

    what: str
    event_id: str
    operation_id: str


@dataclass
class Person:
    """One user of the HTTP API. What was answered with 202 is remembered in `acknowledged`."""

    stack: Stack
    user: str
    acknowledged: list[Acknowledged]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=70, trust_env=False))

    @property
    def key(self) -> str:
        keys = json.loads((self.stack.home.credentials / "api-keys.json").read_text())
        return str(keys[self.user]["key"])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Ask once."""
        headers.setdefault("Authorization", f"Bearer {self.key}")
        return self.http.request(method, self.stack.url + path, json=body, headers=headers)

    def patiently(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Ask until an answer comes that no waiting would change: processes may be dying meanwhile."""

        def look() -> httpx.Response | None:
            try:
                answer = self.ask(method, path, body, **headers)
            except httpx.TransportError:
                return None
            return None if answer.status_code in _HEALS else answer

        # A response of status 4xx and 5xx is falsy.
        return until(f"answer to {method} {path}", lambda: [answer] if (answer := look()) is not None else [])[0]

    def get(self, path: str, **query: Any) -> Json:
        answer = self.patiently("GET", f"{path}?{urlencode(query)}" if query else path)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def items(self, path: str, **query: Any) -> list[Json]:
        """Return every item of a list, page after page."""
        page = self.get(path, limit=200, **query)
        found = list(page["items"])
        while page["next_cursor"]:
            page = self.get(path, limit=200, cursor=page["next_cursor"], **query)
            found += page["items"]
        return found

    def post(self, path: str, body: Json) -> Json:
        """Ask for something that is then durable; asked again under one Idempotency-Key while nobody answers."""
        answer = self.patiently("POST", path, body, **{"Idempotency-Key": str(uuid4())})
        assert answer.status_code == 202, answer.text
        found: Json = answer.json()
        event_id = found.get("event_id") or found["id"]
        self.acknowledged.append(Acknowledged(f"POST {path}", event_id, answer.headers[OPERATION]))
        return found

    def refused(self, status: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[Json, str]:
        """Ask for what must be refused; return the problem, which is as published, and the operation's id."""
        answer = self.ask(method, path, body, **headers)
        assert answer.status_code == status, f"{answer.status_code} {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        problem: Json = answer.json()
        problem_schema(self.stack.url).validate(problem)
        return problem, answer.headers[OPERATION]

    def waits_for(self, task_id: str, state: str) -> Json:
        """Return the task once it is in a state; fails when it ends otherwise."""

        def look() -> Json | None:
            task = self.get(f"/api/tasks/{task_id}")
            if task["state"] == state:
                return task
            assert task["state"] not in ("completed", "failed", "cancelled"), (
                f"expected {state}, found {task['state']}: {task['failure']} {task['decision']}"
            )
            return None

        return until(f"task {task_id} in state {state}", look)

    def until_decided(self, decision_id: str) -> Json:
        """Return a decision among options once it is reached; it need not be known yet."""
        return self._until_ended("decision", decision_id, "completed")

    def until_examined(self, evaluation_id: str, state: str = "completed") -> Json:
        """Return an evaluation once it has ended this way."""
        return self._until_ended("evaluation", evaluation_id, state)

    def _until_ended(self, kind: str, id_: str, state: str) -> Json:
        def look() -> Json | None:
            answer = self.patiently("GET", f"/api/{kind}s/{id_}")
            ended = answer.status_code == 200 and answer.json()["state"] == state
            return dict(answer.json()) if ended else None

        return until(f"{state} {kind} {id_}", look)

    @contextmanager
    def listening(self, **query: str) -> Iterator["Listener"]:
        """Listen at the WebSocket."""
        url = f"{self.stack.url.replace('http', 'ws', 1)}/api/stream?{urlencode(query)}"
        headers = {"Authorization": f"Bearer {self.key}"}
        with open_socket(url, additional_headers=headers, proxy=None, max_size=2**22) as socket:
            yield Listener(socket)


@dataclass
class Listener:
    """The messages of a WebSocket, heartbeats apart."""

    socket: ClientConnection
    messages: list[Json] = field(default_factory=list)

    def until(self, type_: str, task_id: str) -> list[Json]:
        """Return every message up to and including the first of a type about a task."""

        def look() -> bool:
            while True:
                message = json.loads(self.socket.recv(timeout=PATIENCE_S))
                if message["type"] == "heartbeat":
                    return False
                self.messages.append(message)
                if message["type"] == type_ and message["task_id"] == task_id:
                    return True

        until(f"message {type_}", look)
        return self.messages


@cache
def problem_schema(url: str) -> Any:
    """Return the validator of problem documents that the gateway's OpenAPI document publishes."""
    document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    return jsonschema_rs.validator_for(document["components"]["schemas"]["ProblemDetails"])


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the published ledger; `id` is the event's, or the leaf's digest where the leaf is an attestation."""

    index: int
    id: str
    type: str
    operation_id: str
    correlation: str
    service: str


@dataclass
class Ledger:
    """The published log as a stranger reads it over HTTP: signature, tiles and every leaf verified."""

    stack: Stack
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))
    _full: dict[int, list[Entry]] = field(default_factory=dict)

    def read(self, path: str) -> bytes:
        """Return a static file; raises Unready when it is not there."""
        answer = self.http.get(f"{self.stack.url}/log/{path}")
        if answer.status_code != 200:
            raise Unready(f"{path}: {answer.status_code}")
        return answer.content

    @property
    def vkey(self) -> str:
        """The log's public key, from the operator's own folder: never from the log itself."""
        return (self.stack.home.publication / "vkey").read_text().strip()

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint, its signature verified."""
        return open_checkpoint(self.read("checkpoint"), VerifierKey.parse(self.vkey)).checkpoint

    def extends(self, old: Checkpoint) -> bool:
        """Tell whether today's tree begins with the tree of an older checkpoint."""
        new = self.checkpoint()
        return TreeReader(self, new.size, new.root).root_at(old.size) == old.root

    def entries(self) -> list[Entry]:
        """Return every entry of the newest checkpoint, oldest first."""
        checkpoint = self.checkpoint()
        tree = TreeReader(self, checkpoint.size, checkpoint.root)
        found: list[Entry] = []
        for number in range((checkpoint.size + WIDTH - 1) // WIDTH):
            entries = self._full.get(number)
            if entries is None:
                entries = [_entry(number * WIDTH + at, leaf) for at, leaf in enumerate(tree.bundle(number))]
                if len(entries) == WIDTH:
                    self._full[number] = entries
            found += entries
        return found

    def until_holds(self, ids: set[str]) -> list[Entry]:
        """Return the entries once these ids are among them, each once; nothing may be there twice."""

        missing = ids

        def look() -> list[Entry] | None:
            nonlocal missing
            entries = self.entries()
            missing = ids - {entry.id for entry in entries}
            return None if missing else entries

        try:
            entries = until(f"ledger with all of {len(ids)} ids", look)
        except AssertionError as late:
            raise AssertionError(f"{late}; missing: {sorted(missing)}") from late
        known = [entry.id for entry in entries]
        assert len(known) == len(set(known)), f"twice in the ledger: {sorted({i for i in known if known.count(i) > 1})}"
        return entries

    def until_succeeded(self, operation_ids: set[str]) -> None:
        """Return once the record of each of these operations is there, which comes after what they stated."""
        missing = operation_ids

        def look() -> bool:
            nonlocal missing
            succeeded = {one.operation_id for one in self.entries() if one.type == "grace.operation-succeeded.v1"}
            missing = operation_ids - succeeded
            return not missing

        try:
            until(f"ledger with the records of {len(operation_ids)} operations", look)
        except AssertionError as late:
            raise AssertionError(f"{late}; missing: {sorted(missing)}") from late

    def until_operation(self, operation_id: str, type_: str) -> list[Entry]:
        """Return an operation's entries, oldest first, once one of a type is among them."""

        def look() -> list[Entry]:
            found = [entry for entry in self.entries() if entry.operation_id == operation_id]
            return found if type_ in {entry.type for entry in found} else []

        return until(f"ledger entry {type_} of operation {operation_id}", look)


def _entry(index: int, leaf: bytes) -> Entry:
    _, statement = read_leaf(leaf)
    if statement is None:
        return Entry(index, sha256(leaf).hexdigest(), "grace.artifact-attested.v1", "", "", "crypto-signer")
    return Entry(
        index, statement.id, statement.type, statement.operation_id, statement.correlation_id, statement.service
    )
