"""The load: facts into an outbox, requests over HTTP, hostile records from outside. What is acknowledged is kept."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
from confluent_kafka import KafkaException, Message, Producer
from grace_common.contract.topics import INTAKE, OUTSIDE
from grace_common.runtime.database import Database
from grace_common.runtime.outage import is_outage
from grace_common.runtime.outbox import Outbox

from tools.bench.chain import TRANSACTION, WRITER, records
from tools.chaos.patience import until
from tools.chaos.stack import Stack
from tools.chaos.tally import Tally

_MOST_AHEAD: Final = 5_000  # facts that are acknowledged and not published yet
_STRANGER_EVERY_S: Final = 1.0
_HEALS: Final = (429, 502, 503)
_BALLOTS: Final[dict[str, Any]] = {
    "question": "Which index type?",
    "options": ["btree", "hash"],
    "ballots": [{"voter": "model-a", "choice": "btree"}, {"voter": "model-b", "choice": "btree"}],
}
_TASK: Final[dict[str, Any]] = {
    "requirements": "Add two numbers",
    "signature": "def add(a: int, b: int) -> int:",
    "examples": [{"args": [1, 2], "expected": 3}],
    "mode": "collaborative",  # it waits for guidance, which nobody gives: the sandbox stays out of this
}
# What is asked in turn: each service has something to do.
_REQUESTS: Final = (("/api/decisions", _BALLOTS), ("/api/decisions", _BALLOTS), ("/api/tasks", _TASK))


@dataclass
class Load:
    """Writes until it is cancelled, each part at its own pace.

    facts       ids of acknowledged facts, 16 bytes each
    operations  HTTP requests that were answered with 202
    refusal     what the gateway said when it last refused a request for a reason that passes
    pause_s     between two transactions of facts, and between two requests
    """

    stack: Stack
    tally: Tally
    pause_s: float = 0.1
    facts: set[bytes] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    refusal: str = ""

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._facts())
            group.create_task(self._requests())
            group.create_task(self._strangers())

    async def acknowledges(self, more: int) -> None:
        """Return when so many more facts have been acknowledged."""
        wanted = len(self.facts) + more
        await until(f"{more} more acknowledged facts", lambda: len(self.facts) >= wanted)

    @property
    def missing(self) -> set[bytes]:
        """Facts that were acknowledged and that the published log does not hold."""
        return self.facts - self.tally.seen

    @property
    def unrecorded(self) -> set[str]:
        """Acknowledged requests whose success is no entry of the published log."""
        return self.operations - self.tally.succeeded

    async def _facts(self) -> None:
        """Write facts into a service's outbox as its handlers do: acknowledged when the transaction has committed."""
        database = Database(self.stack.credentials(WRITER)["GRACE_DATABASE_URL"])
        outbox = Outbox(database)
        try:
            while True:
                if len(self.facts) - self.tally.size > _MOST_AHEAD:
                    await asyncio.sleep(0.2)
                    continue
                stated = records(TRANSACTION)
                while True:
                    try:
                        await outbox.state(stated)
                        break
                    except Exception as error:
                        if not is_outage(error):
                            raise
                        await asyncio.sleep(0.2)  # whether it has committed nobody knows: the same ids again
                self.facts.update(fact.id.bytes for fact in stated)
                await asyncio.sleep(self.pause_s)
        finally:
            await database.close()

    async def _requests(self) -> None:
        """Ask over HTTP, each time under a key of its own until an answer comes that no waiting would change."""
        number = 0
        async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
            while True:
                path, body = _REQUESTS[number % len(_REQUESTS)]
                number += 1
                answer = await self._answer(http, path, body)
                if answer.status_code != 202:
                    raise RuntimeError(f"POST {path} was answered with {answer.status_code}: {answer.text}")
                found = answer.json()
                self.facts.add(UUID(found.get("event_id") or found["id"]).bytes)
                self.operations.add(answer.headers["grace-operation-id"])
                await asyncio.sleep(self.pause_s * 2)

    async def _answer(self, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.stack.key('ada')}", "Idempotency-Key": str(uuid4())}
        while True:
            try:
                answer = await http.post(f"{self.stack.url}{path}", json=body, headers=headers)
                if answer.status_code not in _HEALS:
                    return answer
                self.refusal = answer.text
            except (httpx.TransportError, httpx.UnsupportedProtocol):
                pass  # the gateway is dead, or has no address yet
            await asyncio.sleep(0.2)

    async def _strangers(self) -> None:
        """Produce, as a program from outside, records that nobody sealed: each is refused, and leaves an entry."""
        while True:
            await asyncio.to_thread(self._stranger)
            await asyncio.sleep(_STRANGER_EVERY_S)

    def _stranger(self) -> None:
        known = self.stack.credentials(OUTSIDE)
        producer = Producer(
            {
                "bootstrap.servers": known["GRACE_KAFKA_BOOTSTRAP"],
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.username": OUTSIDE,
                "sasl.password": known["GRACE_KAFKA_PASSWORD"],
                "acks": "all",
                "message.timeout.ms": 2000,
                "log_level": 0,
            }
        )
        try:
            producer.produce(INTAKE.name, value=json.dumps({"id": str(uuid4())}).encode(), on_delivery=_delivered)
            producer.flush(5)
        except KafkaException:
            return  # the broker is dead


def _delivered(error: object, message: Message) -> None:
    """Whether it arrived does not matter: what nobody sealed is acknowledged by nobody."""
