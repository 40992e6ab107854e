"""Which handler hears which event: what a service declares, and the delivery carries out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Generic, TypeVar
from uuid import UUID

from grace_common.contract.envelope import Attributes, Envelope  # loads every event class into the registry
from grace_common.contract.events.base import Event, event_types
from grace_common.contract.topics import Topic
from grace_common.runtime.operation import Operation, state
from grace_common.runtime.seal import Signer

Ports = TypeVar("Ports")
E = TypeVar("E", bound=Event)

Answers = Sequence[Event] | None
Handler = Callable[..., Awaitable[Answers]]
BatchHandler = Callable[[Sequence[Envelope], Ports], Awaitable[None]]
RawHandler = Callable[[Sequence[Attributes], Ports], Awaitable[None]]


@dataclass(frozen=True)
class Work:
    """One event in the hands of one handler."""

    envelope: Envelope
    operation: Operation
    signer: Signer

    async def state(self, *events: Event) -> None:
        """State facts at once, before the handler ends: for progress of handlers that reach outside."""
        await state(events)

    def note(self, **attributes: str | int | float | bool) -> None:
        """Add attributes to the operation's record: names, counts, digests; never content or secrets."""
        self.operation.note(**attributes)


@dataclass(frozen=True)
class Route:
    """One declared subscription."""

    event: type[Event]
    handler: Handler
    emits: tuple[type[Event], ...] = ()
    outside: bool = False
    batch: bool = False
    raw: bool = False
    takes_work: bool = False

    @property
    def name(self) -> str:
        return self.handler.__name__

    async def call(self, event: Event, ports: Any, work: Work) -> Sequence[Event]:
        """Call the handler; TypeError when it states what it did not declare."""
        arguments = (event, ports, work) if self.takes_work else (event, ports)
        answers = await self.handler(*arguments) or ()
        for answer in answers:
            if not isinstance(answer, self.emits):
                raise TypeError(f"{self.name} stated {type(answer).__name__}, which its `emits` does not declare")
        return answers


@dataclass
class EventRouter(Generic[Ports]):
    """The routes of one consumer group."""

    service: str
    group: str | None = None
    routes: dict[type[Event], Route] = field(default_factory=dict)

    @property
    def group_id(self) -> str:
        """The Kafka consumer group: the service's name, or `<service>.<group>`."""
        return f"{self.service}.{self.group}" if self.group else self.service

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics to subscribe to, in the order of the first route on each."""
        return tuple(dict.fromkeys(event.TOPIC for event in self.routes))

    @property
    def by_type(self) -> Mapping[str, Route]:
        """Routes by every event type that leads to them: older versions are upcast before the handler sees them."""
        newest = {event.TYPE.rpartition(".v")[0]: route for event, route in self.routes.items()}
        return {
            type_: newest[type_.rpartition(".v")[0]] for type_ in event_types() if type_.rpartition(".v")[0] in newest
        }

    def on(
        self, event: type[E], *, emits: Sequence[type[Event]] = (), outside: bool = False
    ) -> Callable[[Handler], Handler]:
        """Route one event to `async (event, ports[, work]) -> answers`.

        outside  the handler takes long or reaches outside the database: it runs without a transaction, its start is
                 committed first, its answers at the end; after a crash it runs again
        """

        def register(handler: Handler) -> Handler:
            takes_work = len(signature(handler).parameters) == 3
            self._add(Route(event, handler, tuple(emits), outside=outside, takes_work=takes_work))
            return handler

        return register

    def batch(self, *events: type[Event]) -> Callable[[BatchHandler[Ports]], BatchHandler[Ports]]:
        """Route events to `async (envelopes, ports)`: read models, many records in one transaction.

        No inbox row is kept and no operation recorded, so the handler must be idempotent by event id.
        """

        def register(handler: BatchHandler[Ports]) -> BatchHandler[Ports]:
            for event in events:
                self._add(Route(event, handler, batch=True))
            return handler

        return register

    def raw(self, *events: type[Event]) -> Callable[[RawHandler[Ports]], RawHandler[Ports]]:
        """Route events to `async (attributes, ports)`: as `batch`, but parsed only, which costs a third of opening.

        For what arrives by the thousand. The handler checks what it reads, of whatever version, and raises Refused.
        """

        def register(handler: RawHandler[Ports]) -> RawHandler[Ports]:
            for event in events:
                self._add(Route(event, handler, batch=True, raw=True))
            return handler

        return register

    def _add(self, route: Route) -> None:
        if route.event in self.routes:
            raise TypeError(f"{self.service} already handles {route.event.__name__}")
        self.routes[route.event] = route


def inbox_key(route: Route, envelope: Envelope, service: str) -> tuple[str, UUID]:
    """Return (consumer, event id): each handler keeps its own account of what it has handled."""
    return f"{service}.{route.name}", envelope.id
