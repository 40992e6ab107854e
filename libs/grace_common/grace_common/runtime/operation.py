"""The six-W record of every piece of work: who, what, where, when, why, how; the SQL it ran; what it read and wrote.

`@operation("codegen.attempt")` around an async function, or `operation_context(...)` around a request. Work that
reaches outside the database (`outside=True`) commits its start before it begins; elsewhere start and outcome share a
transaction. Outside a running service (in a unit test of a handler, say) the decorator only calls through.
"""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from hashlib import sha256
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID, uuid5

from pydantic import BaseModel

from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import GraceError
from grace_common.contract.events.base import Event, answer_id
from grace_common.contract.events.operation import OperationFailed, OperationStarted, OperationSucceeded, Statement
from grace_common.runtime import telemetry
from grace_common.runtime.clock import Clock
from grace_common.runtime.database import in_transaction, observer
from grace_common.runtime.outbox import Outbox

P = ParamSpec("P")
R = TypeVar("R")

DEADLINE: Final = timedelta(minutes=15)
_MOST_STATEMENTS: Final = 20
_MOST_IDS: Final = 100
_LITERALS = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_SPACE = re.compile(r"\s+")
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+\"?([a-z_][a-z0-9_]*)", re.IGNORECASE)

_operation: ContextVar["Operation | None"] = ContextVar("operation", default=None)
_recorder: ContextVar["Recorder | None"] = ContextVar("recorder", default=None)


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where operations of this process are recorded."""

    service: str
    outbox: Outbox
    clock: Clock

    def install(self) -> None:
        """Make this the recorder of the current context and of every task started from it."""
        _recorder.set(self)


@dataclass
class Operation:
    """One piece of work while it runs."""

    id: UUID
    name: str
    service: str
    actor: str
    subject: str
    correlation: str
    why: str
    started_at: datetime
    cause: UUID | None = None
    parent: "Operation | None" = None
    outside: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    read: list[UUID] = field(default_factory=list)
    wrote: list[UUID] = field(default_factory=list)
    concluded: bool = False
    failures: list[Envelope] = field(default_factory=list)  # of children whose transaction rolled back
    _clock_started: float = field(default_factory=time.perf_counter)
    _statements: dict[str, list[float]] = field(default_factory=dict)
    _stated: Counter[str] = field(default_factory=Counter)
    _children: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        """Forget what a rolled-back attempt did, so that the next one derives the same ids."""
        self.attributes.clear()
        self.wrote.clear()
        self.failures.clear()
        self._statements.clear()
        self._stated.clear()
        self._children.clear()

    def note(self, **attributes: str | int | float | bool) -> None:
        """Add attributes to the record: names, counts, digests; never content or secrets."""
        self.attributes |= {name: str(value)[:200] for name, value in attributes.items()}

    def observe(self, statement: str, rows: int, seconds: float) -> None:
        """Take one SQL statement into the record, by its fingerprint."""
        print_ = fingerprint(statement)
        seen = self._statements.setdefault(print_, [0, 0, 0.0])
        seen[0] += 1
        seen[1] += rows
        seen[2] += seconds

    def envelope(self, event: Event, now: datetime) -> Envelope:
        """Wrap a fact stated within this operation. Its id derives from the cause, or from the operation itself."""
        cause = self.cause if self.cause is not None else self.id
        which: int | str | None = event.distinguisher
        if which is None:
            which = self._stated[event.TYPE]
            self._stated[event.TYPE] += 1
        envelope = self._wrap(event, answer_id(cause, event.TYPE, which), now)
        self.wrote.append(envelope.id)
        return envelope

    def child_id(self, name: str) -> UUID:
        ordinal = self._children[name]
        self._children[name] += 1
        return uuid5(self.id, f"{name}#{ordinal}")

    def start(self) -> Envelope:
        """Return the record of its start."""
        event = OperationStarted(
            operation_id=self.id,
            name=self.name,
            service=self.service,
            actor=self.actor,
            subject=self.subject,
            parent_id=self.parent.id if self.parent else None,
            why=self.why,
            deadline=self.started_at + DEADLINE if self.outside else None,
        )
        return self._wrap(event, uuid5(self.id, OperationStarted.TYPE), self.started_at)

    def success(self, now: datetime, result: object = None) -> list[Envelope]:
        """Return the records of its success (and of its start, unless that is committed already); conclude it.

        Children that failed, and whose failure it survived, come first.
        """
        self.concluded = True
        telemetry.OPERATIONS.labels(self.name, "succeeded").inc()
        event = OperationSucceeded(
            operation_id=self.id,
            name=self.name,
            service=self.service,
            actor=self.actor,
            subject=self.subject,
            parent_id=self.parent.id if self.parent else None,
            duration_ms=self._elapsed_ms(),
            result_sha256=digest(result),
            attributes=self.attributes,
            statements=self._observed(),
            read=tuple(self.read[:_MOST_IDS]),
            wrote=tuple(self.wrote[:_MOST_IDS]),
        )
        outcome = self._wrap(event, uuid5(self.id, "outcome"), now)
        return [*self.failures, outcome] if self.outside else [*self.failures, self.start(), outcome]

    def failure(self, now: datetime, error: BaseException) -> list[Envelope]:
        """Return the records of its failure; conclude it. What foreign errors say is left out: it may hold values."""
        self.concluded = True
        telemetry.OPERATIONS.labels(self.name, "failed").inc()
        event = OperationFailed(
            operation_id=self.id,
            name=self.name,
            service=self.service,
            actor=self.actor,
            subject=self.subject,
            parent_id=self.parent.id if self.parent else None,
            duration_ms=self._elapsed_ms(),
            error=type(error).__name__,
            message=str(error)[:2000] if isinstance(error, GraceError) else "see the service's log",
            attributes=self.attributes,
            statements=self._observed(),
            read=tuple(self.read[:_MOST_IDS]),
        )
        # A failed attempt may be followed by one that succeeds: each failure has an id of its own time.
        outcome = self._wrap(event, uuid5(self.id, f"failure@{now.isoformat()}"), now)
        return [*self.failures, outcome] if self.outside else [*self.failures, self.start(), outcome]

    def _wrap(self, event: Event, id_: UUID, now: datetime) -> Envelope:
        return Envelope(
            id=id_,
            source=f"/grace/{self.service}",
            time=now,
            correlation=self.correlation,
            causation=self.cause,
            operation=self.id,
            actor=self.actor,
            traceparent=telemetry.traceparent(),
            event=event,
        )

    def _elapsed_ms(self) -> float:
        return round((time.perf_counter() - self._clock_started) * 1000, 3)

    def _observed(self) -> tuple[Statement, ...]:
        longest = sorted(self._statements.items(), key=lambda item: -item[1][2])[:_MOST_STATEMENTS]
        return tuple(
            Statement(
                fingerprint=print_,
                table=table_of(print_),
                count=int(count),
                rows=int(rows),
                duration_ms=round(s * 1000, 3),
            )
            for print_, (count, rows, s) in longest
        )


def fingerprint(statement: str) -> str:
    """Return the statement with literals replaced and white space folded, at most 300 characters."""
    return _SPACE.sub(" ", _LITERALS.sub("?", statement)).strip()[:300]


def table_of(statement: str) -> str | None:
    found = _TABLE.search(statement)
    return found.group(1) if found else None


def digest(result: object) -> str | None:
    """Return SHA-256 over what an operation returned, where it has bytes of its own (models, text, bytes)."""
    if isinstance(result, BaseModel):
        return sha256(result.model_dump_json().encode()).hexdigest()
    if isinstance(result, str):
        return sha256(result.encode()).hexdigest()
    if isinstance(result, bytes):
        return sha256(result).hexdigest()
    return None


def current_operation() -> Operation | None:
    """Return the operation that is running here, if any."""
    return _operation.get()


@contextmanager
def running(operation: Operation) -> Iterator[None]:
    """Make `operation` the current one: statements and nested operations go to it."""
    current = _operation.set(operation)
    observing = observer.set(operation.observe)
    try:
        yield
    finally:
        observer.reset(observing)
        _operation.reset(current)


@asynccontextmanager
async def operation_context(
    name: str,
    *,
    actor: str | None = None,
    subject: str | None = None,
    correlation: str | None = None,
    why: str | None = None,
    id: UUID | None = None,
    outside: bool = False,
) -> AsyncIterator[Operation]:
    """Run a block as an operation; what is not given is taken from the operation around it.

    A block that commits `operation.success(...)` itself, in its own transaction, concludes it; else the outcome is
    recorded when the block ends.
    """
    recorder = _recorder.get()
    if recorder is None:
        raise RuntimeError("operation_context needs a running service")
    parent = _operation.get()
    operation = Operation(
        id=id or (parent.child_id(name) if parent else recorder.clock.new_id()),
        name=name,
        service=recorder.service,
        actor=actor or (parent.actor if parent else recorder.service),
        subject=subject or (parent.subject if parent else "-"),
        correlation=correlation or (parent.correlation if parent else subject or "-"),
        why=why or (parent.name if parent else "-"),
        started_at=recorder.clock.now(),
        cause=parent.cause if parent else None,
        parent=parent,
        outside=outside,
    )
    if parent is not None:
        operation._stated = parent._stated  # ids of answers count per cause, whichever operation states them
    if outside:
        if in_transaction():
            raise RuntimeError(f"{name} reaches outside the database and must not run inside a transaction")
        await recorder.outbox.state([operation.start()])
    with running(operation):
        try:
            yield operation
        except BaseException as error:
            records = operation.failure(recorder.clock.now(), error)
            if in_transaction() and parent is not None:
                parent.failures.extend(records)  # this transaction rolls back; the outermost operation tells of it
            else:
                await recorder.outbox.state(records)
            raise
        if not operation.concluded:
            await recorder.outbox.state(operation.success(recorder.clock.now()))


def operation(
    name: str, *, outside: bool = False
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Decorate an async function so that each call is an operation, a child of the one around it."""

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            recorder = _recorder.get()
            if recorder is None:
                return await function(*args, **kwargs)
            async with operation_context(name, outside=outside) as running_operation:
                result = await function(*args, **kwargs)
                await recorder.outbox.state(running_operation.success(recorder.clock.now(), result))
                return result

        return call

    return decorate


async def state(events: Sequence[Event]) -> list[Envelope]:
    """State facts within the current operation: in the open transaction, or in one of their own."""
    recorder, running_operation = _recorder.get(), _operation.get()
    if recorder is None or running_operation is None:
        raise RuntimeError("facts are stated within an operation of a running service")
    now = recorder.clock.now()
    envelopes = [running_operation.envelope(event, now) for event in events]
    await recorder.outbox.state(envelopes)
    return envelopes
