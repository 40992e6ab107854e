"""The supervisor: one background process that owns Kafka, PostgreSQL and every service.

Run as `python -m grace_cli.stack.supervisor` with GRACE_HOME set, by `grace up`. It reads `plan.json`, writes
`status.json`, and stops everything on SIGTERM: services first, then the two servers. Should it be killed outright, the
kernel ends its children (lifeline.py), and the next supervisor ends whatever is left before it begins.
"""

import asyncio
import ctypes
import fcntl
import os
import random
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence, Set
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
from grace_common.contract.topics import GATEWAY, OUTSIDE

from grace_cli.errors import CliError
from grace_cli.stack.artifacts import ArtifactCache
from grace_cli.stack.backoff import Backoff, longest_wait
from grace_cli.stack.command import Command, base_environment
from grace_cli.stack.credentials import Passwords, ensure_api_keys, passwords, write_env_file
from grace_cli.stack.environment import Servers, extra_settings, service_environment
from grace_cli.stack.home import Home, find_home
from grace_cli.stack.keeper import Keeper, Launcher, Unfit, http_check, log_of
from grace_cli.stack.plan import Preparation, ServicePlan, StackPlan
from grace_cli.stack.ports import LOOPBACK, Ports, free_port
from grace_cli.stack.progress import Silent
from grace_cli.stack.provision import principals, provision_kafka, provision_postgres, service_url, target_database
from grace_cli.stack.servers import Kafka, Postgres, kafka_listens, kafka_of, postgres_of
from grace_cli.stack.status import Board, ChildStatus, StackStatus, State, process_of, read_status, started_at

PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
SERVICE_STOP_S: Final = 15.0
SERVER_STOP_S: Final = 30.0
LEFTOVER_STOP_S: Final = 15.0
REAP_EVERY_S: Final = 5.0
RENEWAL_EVERY_S: Final = 600.0
EXTERNAL_POLL_S: Final = 5.0
MIGRATIONS: Final = (sys.executable, "-m", "grace_cli.stack.migrations")
MIGRATING: Final = "migrating tables"
AT_ONCE: Final = max(2, os.cpu_count() or 2)  # migrations and preparations that run side by side


class Supervisor:
    """Everything the background process does; `run` returns when the stack has stopped."""

    def __init__(self, home: Home, plan: StackPlan, environ: Mapping[str, str]) -> None:
        self._home = home
        self._plan = plan
        self._environ = environ
        self._longest_wait_s = longest_wait(environ)
        self._log = log_of(home.logs, "supervisor")
        pid = os.getpid()
        self._board = Board(home.status, StackStatus(pid, started_at(pid) or 0.0), self._say)
        self._stopping = asyncio.Event()
        self._failed = False
        self._database_ready = asyncio.Event()
        self._topics_ready = asyncio.Event()
        self._migrator = Launcher(log_of(home.logs, "migrations"))
        self._tried_together = asyncio.Event()
        self._all_migrated = False  # of those that name a package
        self._migrated = {service.name: asyncio.Event() for service in plan.services}
        self._prepared = {step.name: asyncio.Event() for step in plan.preparations}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> int:
        """Bring the stack up, keep it up until SIGTERM or SIGINT, take it down; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        for name in ("kafka", "postgres", *(service.name for service in self._plan.services)):
            self._board.child(name)
        self._board.write()
        cache = ArtifactCache(self._home.cache, Silent())
        ports = Ports(self._home.ports, self._board.note)
        kafka = kafka_of(self._home, cache, ports, self._environ)
        postgres = postgres_of(self._home, cache, ports, self._environ)
        known = {service.name: passwords(self._home, service.name) for service in self._plan.services}
        servers = self._servers(kafka, postgres, known)

        server_keepers = [
            keeper
            for keeper in (
                self._server_keeper("kafka", kafka.port, kafka.command, self._kafka_check(kafka)),
                self._server_keeper("postgres", postgres.port, postgres.command, blocking_check(postgres.answers)),
            )
            if keeper is not None
        ]
        service_keepers = {
            service.name: self._service_keeper(service, servers, known[service.name], ports)
            for service in self._plan.services
        }
        background = [self._provision_topics(kafka), self._provision_database(postgres, known)]
        background.append(self._migrate_together())
        background.append(self._reap([*server_keepers, *service_keepers.values(), self._migrator]))
        background += [self._watch_existing("kafka", kafka.answers)] if kafka.command is None else []
        background += [self._watch_existing("postgres", postgres.answers)] if postgres.command is None else []
        for step in self._plan.preparations:
            background.append(self._prepare(step, service_keepers[step.service], servers, known[step.service]))
        helpers = [self._task(work) for work in background]
        server_tasks = [self._task(keeper.keep()) for keeper in server_keepers]
        service_tasks = [
            self._task(service_keepers[service.name].keep(self._before(service, service_keepers, servers, known)))
            for service in self._plan.services
        ]

        await self._stopping.wait()
        self._board.status.stopping = True
        self._board.write()
        for helper in helpers:
            helper.cancel()
        for keepers, tasks in ((list(service_keepers.values()), service_tasks), (server_keepers, server_tasks)):
            for keeper in keepers:
                keeper.stop()
            await asyncio.wait(tasks) if tasks else None
        end_descendants()
        self._home.status.unlink(missing_ok=True)
        self._say("the stack has stopped")
        return 1 if self._failed else 0

    # What must be there before a service starts

    async def _before(
        self,
        service: ServicePlan,
        keepers: Mapping[str, Keeper],
        servers: Servers,
        known: Mapping[str, Passwords],
    ) -> None:
        keeper = keepers[service.name]
        self._board.change(keeper.status, State.WAITING, "for the database")
        await self._database_ready.wait()
        if service.package:
            self._board.change(keeper.status, State.PREPARING, MIGRATING)
            await self._tried_together.wait()
        if service.migrate and not (service.package and self._all_migrated):
            environment = self._environment(service.name, 0, servers, known[service.name])
            migration = partial(keeper.run_once, self._command(service.migrate, environment))
            await self._insist(keeper, MIGRATING, migration)
        self._migrated[service.name].set()
        for step in self._plan.preparations:
            if service.name in step.before:
                self._board.change(keeper.status, State.WAITING, f"for the {step.name}")
                await self._prepared[step.name].wait()
        self._board.change(keeper.status, State.WAITING, "for Kafka's topics")
        await self._topics_ready.wait()

    async def _migrate_together(self) -> None:
        """Migrate all services that name a package in one process; if that fails each does it alone, and says why."""
        await self._database_ready.wait()
        pairs = [f"{service.name}={service.package}" for service in self._plan.services if service.package]
        environment = base_environment(self._environ) | {"GRACE_HOME": str(self._home.root)}
        try:
            if pairs:
                await self._migrator.run_once(self._command((*MIGRATIONS, *pairs), environment))
                self._all_migrated = True
        except (CliError, OSError) as error:
            self._say(f"migrating together: {error}; now one by one")
        self._tried_together.set()

    async def _prepare(self, step: Preparation, keeper: Keeper, servers: Servers, known: Passwords) -> None:
        """Run a preparation when its time has come, and again whenever one of its certificates is about to expire."""
        await self._migrated[step.service].wait()
        command = self._command(step.run, self._environment(step.service, 0, servers, known))
        fresh = False
        while True:
            if not fresh:
                await self._insist(keeper, f"making the {step.name}", partial(keeper.run_once, command))
            self._prepared[step.name].set()
            if not step.certificates:
                return
            await asyncio.sleep(RENEWAL_EVERY_S)
            fresh = all(certificate_is_fresh(Path(file), datetime.now(UTC)) for file in step.certificates)

    async def _provision_topics(self, kafka: Kafka) -> None:
        """Make topics, users and rules once the broker is there, and whenever it comes back: it may have lost all."""
        names = {name: passwords(self._home, name).kafka for name in principals()} if kafka.authenticates else None

        async def attempt() -> None:
            for line in await asyncio.to_thread(provision_kafka, kafka.admin, names):
                self._say(line)

        lost = self._board.lost("kafka")
        while True:
            lost.clear()
            await self._when_ready("kafka", "making topics and access rules", attempt)
            self._topics_ready.set()
            await lost.wait()

    async def _provision_database(self, postgres: Postgres, known: Mapping[str, Passwords]) -> None:
        async def attempt() -> None:
            database_passwords = {name: pair.database for name, pair in known.items()}
            for line in await provision_postgres(postgres.admin_url, database_passwords, list(known)):
                self._say(line)

        await self._when_ready("postgres", "making roles and schemas", attempt)
        self._database_ready.set()

    async def _when_ready(self, name: str, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        backoff = self._backoff()
        while True:
            await self._board.ready(name).wait()
            try:
                return await attempt()
            except CliError as error:
                wait = backoff.after(0)
                self._board.note(f"{what}: {error.message} ({error.advice}); again in {wait:.0f} s")
                await asyncio.sleep(wait)

    async def _insist(self, keeper: Keeper, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Do one piece of work, again and again with backoff until it succeeds; show it as the child's state."""
        backoff = self._backoff()
        while True:
            try:
                async with self._slots:
                    if keeper.status.pid is None:  # else it runs, and this goes on beside it
                        self._board.change(keeper.status, State.PREPARING, what)
                    return await attempt()
            except (CliError, OSError) as error:
                wait = backoff.after(0)
                self._say(f"{keeper.status.name}: {what}: {error}")
                if keeper.status.pid is None:
                    self._board.change(keeper.status, State.PREPARING, f"{what}: {error}; again in {wait:.0f} s")
                await asyncio.sleep(wait)

    # The children

    def _server_keeper(
        self,
        name: str,
        port: int | None,
        command: Callable[[], Command] | None,
        check: Callable[[ChildStatus], Awaitable[None]],
    ) -> Keeper | None:
        if command is None:
            return None
        status = self._board.child(name)
        status.port = port
        make = partial(asyncio.to_thread, command)
        log = log_of(self._home.logs, name)
        return Keeper(status, self._board, log, make, check, self._backoff(), SERVER_STOP_S)

    def _service_keeper(self, service: ServicePlan, servers: Servers, known: Passwords, ports: Ports) -> Keeper:
        status = self._board.child(service.name)
        status.port = ports.take(service.name, service.port) if service.port else free_port()
        if service.name == GATEWAY:
            self._board.status.url = f"http://{LOOPBACK}:{status.port}"

        async def command() -> Command:
            status.port = free_port([status.port or 0])
            return self._command(service.run, self._environment(service.name, status.port, servers, known))

        async def check(child: ChildStatus) -> None:
            await http_check(child.port or 0)

        log = log_of(self._home.logs, service.name)
        return Keeper(status, self._board, log, command, check, self._backoff(), SERVICE_STOP_S)

    async def _watch_existing(self, name: str, answers: Callable[[], bool]) -> None:
        status = self._board.child(name)
        while True:
            there = await asyncio.to_thread(answers)
            self._board.change(status, State.READY if there else State.UNREADY, "" if there else "it does not answer")
            await asyncio.sleep(EXTERNAL_POLL_S)

    @staticmethod
    def _kafka_check(kafka: Kafka) -> Callable[[ChildStatus], Awaitable[None]]:
        async def check(child: ChildStatus) -> None:
            # A client that begins before the broker listens backs off, and would find it a second late.
            there = await asyncio.to_thread(kafka_listens, kafka)
            if there and child.state is State.STARTING:
                there = await asyncio.to_thread(kafka.answers)
            if not there:
                raise Unfit("it does not answer", silent=True)

        return check

    # What they are told

    def _servers(self, kafka: Kafka, postgres: Postgres, known: Mapping[str, Passwords]) -> Servers:
        """Write the credential files and return where the servers are."""
        database = target_database(postgres.admin_url)
        servers = Servers(kafka.bootstrap, kafka.protocol, kafka.authenticates, postgres.admin_url, database)
        folder = self._home.credentials
        for name in {*known, OUTSIDE, *principals()}:
            pair = passwords(self._home, name)
            own = extra_settings(folder / f"{name}.env") | {
                "GRACE_KAFKA_BOOTSTRAP": kafka.bootstrap,
                "GRACE_KAFKA_USERNAME": name,
                "GRACE_KAFKA_PASSWORD": pair.kafka,
                "GRACE_DATABASE_PASSWORD": pair.database,
            }
            if name in known:
                own["GRACE_DATABASE_URL"] = service_url(postgres.admin_url, database, name, pair.database)
            write_env_file(folder / f"{name}.env", own)
        for name in known:
            for private in (self._home.identity(name), self._home.state(name)):
                private.mkdir(mode=0o700, parents=True, exist_ok=True)
        if GATEWAY in known:
            ensure_api_keys(self._home, self._home.state(GATEWAY))
        return servers

    def _environment(self, service: str, port: int, servers: Servers, known: Passwords) -> dict[str, str]:
        return service_environment(service, port, servers, known, self._home, self._environ)

    def _command(self, argv: tuple[str, ...], environment: Mapping[str, str]) -> Command:
        return Command(argv, environment, self._home.root)

    # Keeping house

    def _backoff(self) -> Backoff:
        return Backoff(random.random, self._longest_wait_s)

    def _task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        # No task of the supervisor fails in normal life: take the stack down in order rather than half-keep it.
        self._say("".join(traceback.format_exception(error)))
        self._failed = True
        self._stopping.set()

    async def _reap(self, launchers: Sequence[Launcher]) -> None:
        """Collect grandchildren that outlived their parents; the kernel gives them to this process (subreaper)."""
        before: set[int] = set()
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            own = {pid for launcher in launchers for pid in launcher.pids}
            before = reap_adopted(own, before)

    def _say(self, line: str) -> None:
        self._log.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {line}\n".encode())


def blocking_check(answers: Callable[[], bool]) -> Callable[[ChildStatus], Awaitable[None]]:
    """Return a check that asks in a thread."""

    async def check(child: ChildStatus) -> None:
        if not await asyncio.to_thread(answers):
            raise Unfit("it does not answer", silent=True)

    return check


def certificate_is_fresh(path: Path, now: datetime) -> bool:
    """Tell whether a certificate exists and has more than a third of its life left."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin <= now and end - now > (end - begin) / 3


def reap_adopted(own: Set[int], before: Set[int]) -> set[int]:
    """Collect the dead children that nobody waits for: not in `own`, and dead already at the last call (`before`).

    returns  the process ids of dead children seen now
    """
    dead: set[int] = set()
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                dead.add(process.pid)
                if process.pid in before - own:
                    os.waitpid(process.pid, os.WNOHANG)
    return dead


def end_descendants() -> None:
    """Kill whatever descends from this process still."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def end_leftovers(status: StackStatus | None) -> list[str]:
    """End the children of a supervisor that died; return the names of those that were still there."""
    if status is None:
        return []
    found: dict[psutil.Process, str] = {}
    for child in status.children:
        process = process_of(child.pid, child.started)
        if process is not None:
            found[process] = child.name
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT if child.name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(list(found), LEFTOVER_STOP_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, LEFTOVER_STOP_S)
    return sorted(found.values())


def main() -> int:
    """Run the supervisor; exit code 1 when another one runs already or a fault of its own ended it."""
    home = find_home(os.environ, Path.cwd())
    with home.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another supervisor runs already", file=sys.stderr)
            return 1
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        leftovers = end_leftovers(read_status(home.status))
        if leftovers:
            print(f"ended what an earlier supervisor left: {', '.join(leftovers)}", file=sys.stderr)
        try:
            plan = StackPlan.from_json(home.plan.read_text())
            return asyncio.run(Supervisor(home, plan, os.environ).run())
        except CliError as error:
            print(f"{error.message}\n{error.advice}", file=sys.stderr)
            home.status.unlink(missing_ok=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())
