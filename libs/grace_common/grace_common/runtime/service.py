"""Running a service: broker, consumers, relay, probes, graceful stop. Every `__main__.py` is `main(build)`."""

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faststream.kafka import KafkaBroker
from sqlalchemy import text

from grace_common.contract import schemas
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import GraceError, Refused
from grace_common.contract.topics import LEDGER, TOPICS
from grace_common.runtime import failpoint, migrate, telemetry
from grace_common.runtime.clock import Clock, SystemClock
from grace_common.runtime.database import Database
from grace_common.runtime.delivery import Delivery
from grace_common.runtime.follower import IdentityFollower
from grace_common.runtime.health import Application, ProbeServer, listening, probes, server
from grace_common.runtime.identity import Directory, LivingAuthorities, LivingSealer, Workload, key_id
from grace_common.runtime.operation import Recorder
from grace_common.runtime.outage import describe_outage, describe_refusal, is_outage
from grace_common.runtime.outbox import Coverage, Outbox, Relay
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.router import EventRouter
from grace_common.runtime.settings import Settings
from grace_common.runtime.stream import Gate, RecordStream, StreamConsumer, broker, patiently

Background = Callable[[], Coroutine[Any, Any, None]]
Check = Callable[[], Awaitable[None]]

_STOP_GRACE_S = 10.0
_CLOSE_S = 10.0
_log = structlog.get_logger(__name__)


@dataclass
class Service:
    """One service, composed by its `main.build()`.

    routers     its event routers with the ports their handlers get
    streams     raw record streams (notary, audit-log)
    background  async callables that run until they are cancelled (timers)
    checks      by name: raises Unready while something the service needs is missing
    asgi        the service's own HTTP application; None: probes only
    package     where `migrations/` lies, when the service owns tables
    identity_emptied  set when the broker is found to have lost the certificates
    address     host and port of its HTTP server, once it runs
    """

    settings: Settings
    database: Database
    ports: Any = None
    routers: Sequence[EventRouter[Any]] = ()
    streams: Sequence[RecordStream] = ()
    background: Sequence[Background] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    asgi: Application | None = None
    package: str | None = None
    clock: Clock = field(default_factory=SystemClock)
    missing: str | None = None
    identity_emptied: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.database)
        self._relay: Relay | None = None
        self._identities: IdentityFollower | None = None
        self._consumers: Sequence[Delivery | StreamConsumer] = ()
        self._consuming = False
        self.address: tuple[str, int] | None = None
        self._stopped_by: asyncio.Future[None] | None = None

    @cached_property
    def workload(self) -> Workload:
        """Who this process is; read when it is first needed, because `migrate` runs before there is an identity."""
        return Workload.load(self.settings.identity_dir)

    async def state(self, envelopes: Sequence[Envelope]) -> None:
        """State facts in the open transaction, or in one of their own."""
        await self.outbox.state(envelopes)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raise what stopped a consumer."""
        stopped_by: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped_by = stopped_by
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.end)
        Recorder(self.settings.service, self.outbox, self.clock).install()
        self._check_schemas()
        workload = self.workload
        identities = self._identities = IdentityFollower(
            self.settings,
            Directory(LivingAuthorities(self.settings.identity_dir), self.settings.trust_domain),
            own=key_id(workload.key.public_key()),
            emptied=self.identity_emptied,
        )
        producer = SealedProducer(self.settings, LivingSealer(self.settings.identity_dir, self.knows))
        relay = self._relay = Relay(self.database, self.outbox, producer, resend_s=self.settings.outbox_resend_s)
        listener = listening(self.settings.http_host, self.settings.http_port)
        self.address = listener.getsockname()[:2]
        http = server(self.asgi or probes(self.settings.service, self.readiness))
        tasks = [asyncio.create_task(http.serve([listener]), name="http")]
        kafka, deliveries = self._attach(identities, stopped_by)
        try:
            if not await _before_stop(patiently(self._database_ready, self), stopped_by):
                return
            tasks += [
                asyncio.create_task(work(), name=name)
                for name, work in (
                    ("identities", identities.run),
                    ("relay", relay.run),
                    ("coverage", relay.watch_coverage),
                    *((f"background-{at}", one) for at, one in enumerate(self.background)),
                )
            ]
            for task in tasks[1:]:
                task.add_done_callback(lambda done: _ended(done, stopped_by))
            if not await _before_stop(patiently(kafka.start, self), stopped_by):
                return
            self._consuming = True
            _log.info("started", url=f"http://{self.address[0]}:{self.address[1]}")
            await stopped_by
        finally:
            self._consuming = False
            await self._stop(kafka, deliveries, tasks, http, relay, producer)
            _log.info("stopped")

    def knows(self, key_id: str) -> bool:
        """Tell whether a key is known to be certified: a certificate of it stands on the identity topic."""
        return self._identities is not None and key_id in self._identities.directory.keys

    def end(self) -> None:
        """Stop gracefully: what SIGTERM does."""
        if self._stopped_by is not None and not self._stopped_by.done():
            self._stopped_by.set_result(None)

    async def readiness(self) -> Mapping[str, str | None]:
        """Return every component this service needs, with None where it is ready, else what is missing."""
        components: dict[str, str | None] = {
            "consumers": self._missing_for_consumers(),
            "broker": await self._missing_broker(),
            "relay": None if self._relay and self._relay.healthy else "the outbox is not being relayed to the broker",
        }
        try:
            async with asyncio.timeout(2), self.database.reading() as connection:
                await connection.execute(text("SELECT 1"))
            components["database"] = None
        except Exception as error:
            if not is_outage(error):
                raise
            components["database"] = describe_outage(error)
        for name, check in self.checks.items():
            try:
                await check()
                components[name] = None
            except GraceError as error:
                components[name] = str(error)
        ready = all(missing is None for missing in components.values())
        telemetry.READY.set(1 if ready else 0)
        return components

    def migrations(self) -> Path | None:
        return Path(str(files(self.package) / "migrations")) if self.package else None

    def _missing_for_consumers(self) -> str | None:
        waiting = (one.missing for one in (self, *self._consumers))
        found = next((missing for missing in waiting if missing is not None), None)
        return found or (None if self._consuming else "waiting for the broker or the database")

    async def _missing_broker(self) -> str | None:
        """Return what is missing of the broker. Consumers do not say: aiokafka waits for it in silence."""
        if self._identities is None:
            return "not started"
        try:
            async with asyncio.timeout(2):
                await self._identities.reach()
        except (KafkaError, TimeoutError) as error:
            return describe_outage(error if isinstance(error, KafkaError) else KafkaTimeoutError())
        return None

    def _attach(
        self, identities: IdentityFollower, stopped_by: "asyncio.Future[None]"
    ) -> tuple[KafkaBroker, list[Delivery]]:
        kafka = broker(self.settings, stopped_by)
        gate = Gate(self.settings.service, identities, self.outbox, self.clock)
        deliveries = [
            Delivery(
                self.settings,
                router,
                self.ports,
                database=self.database,
                outbox=self.outbox,
                gate=gate,
                clock=self.clock,
                stopped_by=stopped_by,
            )
            for router in self.routers
        ]
        coverage = RecordStream(
            self.settings.service, "coverage", (LEDGER,), Coverage(self.database, self.settings.service), wait_s=1.0
        )
        streams = [StreamConsumer(self.settings, stream, gate, stopped_by) for stream in (*self.streams, coverage)]
        for delivery in deliveries:
            delivery.attach(kafka)
        for stream in streams:
            stream.attach(kafka)
        for delivery in deliveries:
            delivery.streams = streams[: len(self.streams)]
        self._consumers = (*deliveries, *streams)
        return kafka, deliveries

    async def _database_ready(self) -> None:
        async with self.database.reading() as connection:
            await connection.execute(text("SELECT 1 FROM outbox LIMIT 1"))

    def _check_schemas(self) -> None:
        mine = self.settings.service
        schemas.check_events(
            self.settings.schemas_dir, [topic for topic in TOPICS if mine in topic.writers or mine in topic.readers]
        )

    async def _stop(
        self,
        kafka: KafkaBroker,
        deliveries: Sequence[Delivery],
        tasks: "list[asyncio.Task[Any]]",
        http: ProbeServer,
        relay: Relay,
        producer: SealedProducer,
    ) -> None:
        """Finish what is in hand, hand back the rest, send what was stated, then close."""
        http.should_exit = True
        for delivery in deliveries:
            await delivery.stop(_STOP_GRACE_S)
        for consumer in self._consumers:
            if isinstance(consumer, StreamConsumer):
                await _within("positions", asyncio.create_task(consumer.stop()))
        await _within("consumers", asyncio.create_task(kafka.stop()))
        for task in tasks[1:]:
            task.cancel()
        await _within("background work", *tasks)
        try:
            async with asyncio.timeout(5):
                while await relay.relay_once():
                    pass
        except Exception as error:
            if not is_outage(error):
                raise
            _log.info("outbox_kept", why=describe_outage(error))
        await _within("producer", asyncio.create_task(producer.close()))
        await _within("database", asyncio.create_task(self.database.close()))


async def _within(what: str, *tasks: "asyncio.Task[Any]") -> None:
    """Wait for the end of what was told to end, but not for ever: what must not be lost is durable by now."""
    ended, stubborn = await asyncio.wait(tasks, timeout=_CLOSE_S)
    for task in stubborn:
        _log.error("does_not_end", what=what, task=task.get_name(), after_s=_CLOSE_S)
        task.cancel()
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.info("ended_with_error", what=what, error=f"{type(error).__name__}: {error}")


def main(build: Callable[[], Service]) -> None:
    """Run a service from its command line: no argument runs it, `migrate` brings its schema up to date."""
    arguments = sys.argv[1:]
    try:
        service = build()
        telemetry.configure(service.settings.service, service.settings.log_level, service.settings.secrets)
        match arguments:
            case []:
                failpoint.arm(service.settings.failpoint, service.settings.state_dir)
                _let_modules_be()
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(service.run())
            case ["migrate"]:
                migrate.run(service.database, service.migrations())
            case _:
                raise Refused(f"unknown arguments {' '.join(arguments)!r}: none runs the service, or `migrate`")
    except GraceError as error:
        sys.exit(f"{error}")
    except Exception as error:
        said = describe_outage(error) if is_outage(error) else describe_refusal(error)
        if said is None:
            raise
        sys.exit(said)


def _let_modules_be() -> None:
    """Take what is loaded by now out of the garbage collector's sight, and let it look less often.

    Records make many objects and few cycles. Collecting took a third of the CPU of reading them (tools/bench), nearly
    all of it for looking through modules and models that stay for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _ended(task: "asyncio.Task[Any]", stopped_by: "asyncio.Future[None]") -> None:
    """A part that should run for ever has ended: that is a bug, and the service ends with it."""
    if stopped_by.done():
        return
    error = None if task.cancelled() else task.exception()  # nobody cancels it before the service is told to stop
    stopped_by.set_exception(error or RuntimeError(f"{task.get_name()} ended by itself"))


async def _before_stop(work: Coroutine[Any, Any, Any], stopped_by: "asyncio.Future[None]") -> bool:
    """Return True once `work` is done, False when the service was told to stop first."""
    task = asyncio.create_task(work)
    await asyncio.wait({task, stopped_by}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.wait({task}, timeout=_CLOSE_S)
    stopped_by.result()
    return False
