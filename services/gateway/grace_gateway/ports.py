"""The outside as the gateway's handlers and API wish to see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from grace_common.contract.envelope import Attributes, Envelope
from grace_common.runtime.clock import Clock

from grace_gateway.domain.cursor import Cursor
from grace_gateway.domain.fact import Fact
from grace_gateway.domain.ledger_query import LedgerQuery
from grace_gateway.domain.progress import Kind
from grace_gateway.domain.roles import Identity
from grace_gateway.domain.submission import Submission
from grace_gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request leaves behind, all of it or nothing.

    envelopes   the operation's own facts; not stated when `submission` says something else than the one that had its id
    effects     facts that are stated only when `submission` is new, or when there is none
    submission  what it submits, if anything
    """

    envelopes: Sequence[Envelope]
    effects: Sequence[Envelope] = ()
    submission: Submission | None = None


class Journal(Protocol):
    """Where requests become durable before they are answered."""

    async def commit(self, entry: Entry) -> Submission | None:
        """Make the entry durable; return the submission that had its id already, None when it is new."""
        ...

    async def commit_with(self, entry: Entry, work: Callable[[], Awaitable[None]]) -> None:
        """Make the entry durable in one transaction with what `work` writes."""
        ...

    async def backlog(self) -> int:
        """Return how many facts wait to be sent to Kafka."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, and the cursor of the next; None at the end."""

    items: Sequence[dict[str, Any]]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class SubmissionQuery:
    kind: Kind
    limit: int
    requester: str | None = None
    state: str | None = None
    waiting_for: str | None = None
    after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Positioned:
    """A fact with its place in the read model's order, which is what streams resume from."""

    position: int
    submission_id: UUID | None
    fact: Fact


class ViewWriter(Protocol):
    """The read model as the event handlers write it; each call is idempotent and bulk.

    Operations and ledger entries come parsed and not opened; what is not as its schema says raises Refused.
    """

    async def add_facts(self, envelopes: Sequence[Envelope]) -> None: ...

    async def add_operations(self, records: Sequence[Attributes]) -> None: ...

    async def add_ledger(self, records: Sequence[Attributes]) -> None: ...

    async def add_certificates(self, envelopes: Sequence[Envelope]) -> None: ...

    async def add_dead_letters(self, envelopes: Sequence[Envelope]) -> None: ...


class Views(Protocol):
    """The read model as the API reads it."""

    async def submission(self, id: UUID) -> Submission | None: ...

    async def facts(self, submission_id: UUID) -> list[Fact]:
        """Return every fact about a submission, the one that submitted it included."""
        ...

    async def requester_of(self, submission_id: UUID) -> str | None: ...

    async def submissions(self, query: SubmissionQuery) -> Page: ...

    async def position_of(self, fact_id: UUID) -> int | None: ...

    async def facts_after(self, position: int, limit: int) -> list[Positioned]: ...

    async def last_position(self) -> int: ...

    async def operation(self, id: UUID) -> dict[str, Any] | None: ...

    async def operations(
        self, *, subject: str | None, name: str | None, actor: str | None, after: Cursor | None, limit: int
    ) -> Page: ...

    async def ledger(self, query: LedgerQuery) -> list[dict[str, Any]]: ...

    async def certificates(self, subject: str | None) -> list[dict[str, Any]]: ...

    async def certificate(self, key_id: str) -> dict[str, Any] | None: ...

    async def dead_letters(self, *, consumer: str | None, after: Cursor | None, limit: int) -> Page: ...

    async def dead_letter(self, refusal_id: UUID) -> list[dict[str, Any]]: ...

    async def approval_records(self, event_ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """Return the exact bytes of the approvals' records, by event id."""
        ...

    async def policies(self) -> list[dict[str, Any]]: ...

    async def memory(self, *, search: str | None, outcome: str | None, after: Cursor | None, limit: int) -> Page: ...

    async def ping(self) -> None:
        """Return when the database answers; raises Unready otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key; the key itself is known only to whom it was given."""

    id: str
    user: str
    roles: tuple[str, ...]
    hash: str
    created_at: datetime | None = None
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def identity(self) -> Identity:
        return Identity(self.user, frozenset(self.roles), self.id)


class KeyStore(Protocol):
    """API keys at rest: those of the deployment's file and those made over the API."""

    async def load(self) -> list[ApiKey]:
        """Return every key, revoked and expired ones included."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Keep a new key, in the open transaction."""
        ...

    async def revoke(self, id: str, by: str, at: datetime) -> None:
        """Withdraw a key made over the API, in the open transaction."""
        ...


class Publication(Protocol):
    """The ledger's static files, as the audit-log wrote them."""

    def read(self, path: str) -> bytes:
        """Return one file; raises Unready when it is not there (yet)."""
        ...


class Feed(Protocol):
    """New facts of the read model, as they come."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Positioned]]]:
        """Yield batches of facts from now on; ends when the subscriber is too slow."""
        ...

    def watch(self, submission_id: UUID) -> AbstractContextManager[asyncio.Event]:
        """Yield an event that is set whenever a fact about the submission arrives."""
        ...


@dataclass(frozen=True)
class Ports:
    """Everything outside that handlers and API use."""

    settings: Settings
    clock: Clock
    journal: Journal
    views: Views
    writer: ViewWriter
    keys: KeyStore
    publication: Publication
    feed: Feed
