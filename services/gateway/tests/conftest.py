"""The API on handwritten ports: a journal and a read model in memory, and a client that speaks HTTP to it."""

import asyncio
import functools
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from grace_common.contract.envelope import Attributes, Envelope
from grace_common.contract.errors import Unready
from grace_common.contract.events.base import Event
from grace_common.contract.events.candidate import (
    ApproachProposed,
    CandidateEvaluated,
    CandidateGenerated,
    CandidatesGenerated,
    EvaluationCompleted,
)
from grace_common.contract.events.decision import DecisionReached, OptionsDecided
from grace_common.contract.events.round import ApprovalRequested, RoundOpened
from grace_common.contract.events.task import GuidanceGiven
from grace_gateway.api.application import application, routes
from grace_gateway.api.door import Door
from grace_gateway.api.keyring import Keyring
from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.fact import Fact
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.submission import Submission, fact_of, subject_of
from grace_gateway.domain.task_view import progress_of
from grace_gateway.ports import ApiKey, Entry, Page, Ports, Positioned, SubmissionQuery
from grace_gateway.settings import Settings
from pydantic import SecretStr

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PEPPER = b"0123456789abcdef0123456789abcdef"


class TickingClock:
    """Each look at it is a millisecond later; ids are in a row."""

    def __init__(self) -> None:
        self._ticks = 0
        self._ids = 0

    def now(self) -> datetime:
        self._ticks += 1
        return NOW + timedelta(milliseconds=self._ticks)

    def new_id(self) -> UUID:
        self._ids += 1
        return UUID(int=0x019AC000_0000_7000_8000_000000000000 + self._ids)


class MemoryJournal:
    """Implements Journal. `failing`: what the next commits raise."""

    def __init__(self, views: "MemoryViews") -> None:
        self._views = views
        self.stated: list[Envelope] = []
        self.failing: Exception | None = None
        self.waiting = 0

    async def commit(self, entry: Entry) -> Submission | None:
        if self.failing is not None:
            raise self.failing
        before: Submission | None = None
        if entry.submission is not None:
            before = self._views.stored.get(entry.submission.id)
            self._views.stored.setdefault(entry.submission.id, entry.submission)
        if before is None:
            self.stated += entry.effects
        if before is None or entry.submission.repeats(before):
            self.stated += entry.envelopes
        return before

    async def commit_with(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        await self.commit(entry)

    async def backlog(self) -> int:
        return self.waiting

    def events(self, kind: type[Event]) -> list[Any]:
        return [envelope.event for envelope in self.stated if isinstance(envelope.event, kind)]


class MemoryViews:
    """Implements Views."""

    def __init__(self) -> None:
        self.stored: dict[UUID, Submission] = {}
        self.known: list[Positioned] = []
        self.operation_rows: dict[UUID, dict[str, Any]] = {}
        self.entries: list[dict[str, Any]] = []
        self.certificate_rows: list[dict[str, Any]] = []
        self.letters: list[dict[str, Any]] = []
        self.records: dict[UUID, bytes] = {}
        self.policy_rows: list[dict[str, Any]] = []
        self.lessons: list[dict[str, Any]] = []

    async def submission(self, id: UUID) -> Submission | None:
        return self.stored.get(id)

    async def facts(self, submission_id: UUID) -> list[Fact]:
        stored = self.stored.get(submission_id)
        about = [one.fact for one in self.known if one.submission_id == submission_id]
        return [stored.fact, *about] if stored else []

    async def requester_of(self, submission_id: UUID) -> str | None:
        stored = self.stored.get(submission_id)
        return stored.requester if stored else None

    async def submissions(self, query: SubmissionQuery) -> Page:
        items = []
        for one in self.stored.values():
            now = progress_of(await self.facts(one.id))
            if (
                one.kind == query.kind
                and query.requester in (None, one.requester)
                and query.state in (None, now.state)
                and query.waiting_for in (None, now.waiting_for)
            ):
                items.append({"id": one.id, "requester": one.requester, "state": now.state, "title": one.title})
        return Page(items[: query.limit])

    async def position_of(self, fact_id: UUID) -> int | None:
        return next((one.position for one in self.known if one.fact.id == fact_id), None)

    async def facts_after(self, position: int, limit: int) -> list[Positioned]:
        return [one for one in self.known if one.position > position][:limit]

    async def last_position(self) -> int:
        return len(self.known)

    async def operation(self, id: UUID) -> dict[str, Any] | None:
        return self.operation_rows.get(id)

    async def operations(
        self, *, subject: str | None, name: str | None, actor: str | None, after: Cursor | None, limit: int
    ) -> Page:
        rows = [row for row in self.operation_rows.values() if name in (None, row["name"])]
        return Page(
            [row for row in rows if actor in (None, row["actor"]) and subject in (None, row["subject"])][:limit]
        )

    async def ledger(self, query: LedgerQuery) -> list[dict[str, Any]]:
        wanted = [
            entry
            for entry in self.entries
            if query.operation_id in (None, entry["operation_id"])
            and query.correlation in (None, entry["correlation"])
            and query.entry_type in (None, entry["entry_type"])
            and (query.operation_ids is None or entry["operation_id"] in query.operation_ids)
            and (not query.entry_types or entry["entry_type"] in query.entry_types)
            and query.actor in (None, entry["actor"])
        ]
        ordered = sorted(wanted, key=lambda entry: entry["index"], reverse=query.newest_first)
        if query.after is not None:
            ordered = [
                entry
                for entry in ordered
                if (entry["index"] < query.after if query.newest_first else entry["index"] > query.after)
            ]
        return ordered[: query.limit]

    async def certificates(self, subject: str | None) -> list[dict[str, Any]]:
        return [row for row in self.certificate_rows if subject in (None, row["subject"])]

    async def certificate(self, key_id: str) -> dict[str, Any] | None:
        return next((row for row in self.certificate_rows if row["key_id"] == key_id), None)

    async def dead_letters(self, *, consumer: str | None, after: Cursor | None, limit: int) -> Page:
        return Page([row for row in self.letters if consumer in (None, row["consumer"])][:limit])

    async def dead_letter(self, refusal_id: UUID) -> list[dict[str, Any]]:
        return [row for row in self.letters if row["refusal_id"] == str(refusal_id)]

    async def approval_records(self, event_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        return {id_: self.records[id_] for id_ in event_ids if id_ in self.records}

    async def policies(self) -> list[dict[str, Any]]:
        return self.policy_rows

    async def memory(self, *, search: str | None, outcome: str | None, after: Cursor | None, limit: int) -> Page:
        return Page([row for row in self.lessons if search is None or search in row["requirements"]][:limit])

    async def ping(self) -> None:
        """Memory always answers."""


class NoWriter:
    """Implements ViewWriter: the API never writes the read model itself."""

    async def add_facts(self, envelopes: Sequence[Envelope]) -> None: ...

    async def add_operations(self, records: Sequence[Attributes]) -> None: ...

    async def add_ledger(self, records: Sequence[Attributes]) -> None: ...

    async def add_certificates(self, envelopes: Sequence[Envelope]) -> None: ...

    async def add_dead_letters(self, envelopes: Sequence[Envelope]) -> None: ...


class MemoryKeys:
    """Implements KeyStore."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}

    async def load(self) -> list[ApiKey]:
        return list(self.keys.values())

    async def add(self, key: ApiKey) -> None:
        self.keys[key.id] = key

    async def revoke(self, id: str, by: str, at: datetime) -> None:
        key = self.keys[id]
        self.keys[id] = ApiKey(key.id, key.user, key.roles, key.hash, key.created_at, key.created_by, None, at)


class MemoryPublication:
    """Implements Publication."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise Unready(f"{path} is not published (yet)")
        return self.files[path]


class MemoryFeed:
    """Implements Feed; `arrive` adds a fact to the views and tells everybody."""

    def __init__(self, views: MemoryViews) -> None:
        self._views = views
        self._queues: set[asyncio.Queue[Sequence[Positioned] | None]] = set()
        self._watched: dict[UUID, set[asyncio.Event]] = {}
        self.watching = asyncio.Event()
        self.subscribed = asyncio.Event()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Sequence[Positioned]]]:
        queue: asyncio.Queue[Sequence[Positioned] | None] = asyncio.Queue()
        self._queues.add(queue)
        self.subscribed.set()

        async def batches() -> AsyncIterator[Sequence[Positioned]]:
            while (batch := await queue.get()) is not None:
                yield batch

        try:
            yield batches()
        finally:
            self._queues.discard(queue)

    @contextmanager
    def watch(self, submission_id: UUID) -> Iterator[asyncio.Event]:
        heard = asyncio.Event()
        self._watched.setdefault(submission_id, set()).add(heard)
        self.watching.set()
        yield heard
        self._watched[submission_id].discard(heard)

    def arrive(self, envelope: Envelope) -> None:
        submission_id = subject_of(envelope.event)
        one = Positioned(len(self._views.known) + 1, submission_id, fact_of(envelope))
        self._views.known.append(one)
        for queue in self._queues:
            queue.put_nowait([one])
        for heard in self._watched.get(submission_id, ()) if submission_id else ():
            heard.set()

    def drop_slow(self) -> None:
        for queue in self._queues:
            queue.put_nowait(None)


@dataclass
class Gateway:
    """The application with its ports, and a client for each person."""

    ports: Ports
    keyring: Keyring
    door: Door
    app: FastAPI
    journal: MemoryJournal
    views: MemoryViews
    keys: MemoryKeys
    feed: MemoryFeed
    publication: MemoryPublication
    clock: TickingClock
    lag: list[str] = field(default_factory=list)
    components: dict[str, str | None] = field(default_factory=dict)

    def add_key(self, key: str, user: str, *roles: str, **more: Any) -> None:
        hashed = hmac.new(PEPPER, key.encode(), sha256).hexdigest()
        self.keys.keys[f"key-{user}"] = ApiKey(f"key-{user}", user, roles, hashed, **more)
        self.keyring.replace(self.keys.keys.values())

    def client(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = httpx.ASGITransport(self.door)
        return httpx.AsyncClient(transport=transport, base_url="http://grace", headers=headers)

    def happened(self, event: Event, *, service: str = "mtl-orchestrator", actor: str = "ada") -> Envelope:
        """Let a fact arrive in the read model, as if another service had stated it."""
        now = self.clock.now()
        correlation = event.partition_key
        id_, operation = self.clock.new_id(), self.clock.new_id()
        envelope = Envelope(id_, f"/grace/{service}", now, correlation, None, operation, actor, None, event)
        self.feed.arrive(envelope)
        return envelope

    def completed_evaluation(self, id: str) -> Event:
        return EvaluationCompleted.example().model_copy(update={"evaluation_id": UUID(id)})

    def reached_decision(self, id: str) -> Event:
        return OptionsDecided.example().model_copy(update={"decision_id": UUID(id)})

    def bring_to_approval(self, task_id: str) -> None:
        """Let everything happen that other services state, up to the request for approval."""
        candidate = CandidateGenerated.example()
        for example in (
            ApproachProposed.example(),
            GuidanceGiven.example(),
            RoundOpened.example(),
            candidate,
            CandidateEvaluated.example(),
            CandidatesGenerated.example(),
            DecisionReached.example(),
            ApprovalRequested.example().model_copy(update={"candidate_id": candidate.candidate_id}),
        ):
            self.happened(example.model_copy(update={"task_id": UUID(task_id)}))

    def new_settings(self, **changes: Any) -> "Gateway":
        """Return the same gateway with other settings."""
        return build(self.ports.settings.model_copy(update=changes))


def settings(**changes: Any) -> Settings:
    values: Mapping[str, Any] = {
        "service": "gateway",
        "kafka_bootstrap": "127.0.0.1:9",
        "database_url": SecretStr("postgresql://nobody@127.0.0.1:9/none"),
        "identity_dir": Path("identity"),
        "state_dir": Path("state"),
        "publication_dir": Path("publication"),
        "schemas_dir": Path("schemas"),
        "http_port": 0,
    }
    return Settings(**{**values, **changes})


bare_application = functools.cache(routes)  # building every route takes longer than most tests


def build(chosen: Settings) -> Gateway:
    views, keys, publication = MemoryViews(), MemoryKeys(), MemoryPublication()
    journal, feed, clock = MemoryJournal(views), MemoryFeed(views), TickingClock()
    ports = Ports(chosen, clock, journal, views, NoWriter(), keys, publication, feed)
    keyring = Keyring(lambda: PEPPER)
    lag: list[str] = []
    components: dict[str, str | None] = {"database": None}

    async def readiness() -> Mapping[str, str | None]:
        return components

    app = bare_application()
    door = application(app, ports, keyring, readiness, lambda: lag[0] if lag else None)
    state = (lag, components)
    made = Gateway(ports, keyring, door, app, journal, views, keys, feed, publication, clock, *state)
    made.add_key("grc_ada", "ada", "requester")
    made.add_key("grc_bob", "bob", "requester")
    made.add_key("grc_grace", "grace", "requester", "reviewer")
    made.add_key("grc_rita", "rita", "reviewer")
    made.add_key("grc_olga", "olga", "operator")
    made.add_key("grc_otto", "otto", "auditor")
    return made


@pytest.fixture
def gateway() -> Gateway:
    return build(settings())


@pytest.fixture
async def ada(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("grc_ada") as client:
        yield client


@pytest.fixture
async def rita(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("grc_rita") as client:
        yield client


@pytest.fixture
async def olga(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("grc_olga") as client:
        yield client


@pytest.fixture
async def otto(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("grc_otto") as client:
        yield client
