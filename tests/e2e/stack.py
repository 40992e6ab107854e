"""A whole Grace of the tests' own, and its processes: started and ended by the CLI's supervisor."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psutil
from grace_cli.errors import CliError
from grace_cli.stack.credentials import read_env_file
from grace_cli.stack.home import Home, find_home
from grace_cli.stack.lifecycle import down, running_status, up, waiting_for
from grace_cli.stack.progress import Silent
from grace_cli.stack.status import ChildStatus, process_of
from grace_cli.testing.containers import ContainerKafka, ContainerPostgres
from grace_cli.testing.stack import use_containers

from tests.e2e.failures import keep_logs
from tests.e2e.outside import Watch, model, plant
from tests.e2e.patience import until

START_TIMEOUT_S: Final = 300.0
SETTINGS: Final = {
    "GRACE_SYNTHESIS_CPU_S": "5",
    "GRACE_SYNTHESIS_PATIENCE_S": "1",
    "GRACE_OUTBOX_RESEND_S": "5",
    "GRACE_EPOCHS_EVERY_S": "2",  # keys that were changed are taken up at once
    "GRACE_REFUSAL_RATE": "1000/second",  # every refusal is stated one by one
    "GRACE_AUTH_FAILURE_RATE": "1000/second",
    "GRACE_STREAM_HEARTBEAT_S": "2",
}
KAFKA, POSTGRES = "kafka", "postgres"


@dataclass(frozen=True)
class Stack:
    """A running Grace.

    watch      the outside witnesses that Grace asks
    contained  Kafka and PostgreSQL by name where they run in containers; empty where the supervisor runs them
    """

    home: Home
    environ: dict[str, str] = field(repr=False)
    watch: Watch
    contained: dict[str, ContainerKafka | ContainerPostgres] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway's address, which it may change when it starts anew."""
        status = running_status(self.home)
        assert status is not None, "the supervisor has ended"
        return f"http://127.0.0.1:{self.child('gateway').port}"

    def children(self) -> list[ChildStatus]:
        status = running_status(self.home)
        assert status is not None, "the supervisor has ended"
        return status.children

    def child(self, name: str) -> ChildStatus:
        return next(child for child in self.children() if child.name == name)

    def credentials(self, principal: str) -> dict[str, str]:
        """Return the settings in a principal's credential file."""
        return read_env_file(self.home.credentials / f"{principal}.env")

    def kill(self, name: str) -> Callable[[], None]:
        """End one of the processes as a crash would; return what waits until it is back and all is ready again."""
        if name in self.contained:
            server = self.contained[name]
            server.kill()
            server.start()  # as an orchestrator of containers would
            return self.until_ready
        before = self.child(name)
        assert before.pid is not None, f"{name} does not run: {before}"
        os.kill(before.pid, signal.SIGKILL)

        def back() -> None:
            until(f"new process of {name}", lambda: self.child(name).pid not in (None, before.pid))
            self.until_ready()

        return back

    def until_ready(self) -> None:
        """Wait until every child is ready."""

        def all_ready() -> bool:
            status = running_status(self.home)
            assert status is not None, "the supervisor has ended"
            return status.ready

        try:
            until("ready stack", all_ready)
        except AssertionError as late:
            raise AssertionError(f"{late}: {waiting_for(running_status(self.home))}") from late

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a `grace` command on this stack."""
        command = [sys.executable, "-m", "grace_cli.main", *words]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=300)

    @property
    def admin_url(self) -> str:
        """The database administrator's connection URL."""
        if POSTGRES in self.contained:
            return self.environ["GRACE_DATABASE_URL"]
        password = self.credentials("admin")["GRACE_DATABASE_PASSWORD"]
        return f"postgresql://postgres:{password}@127.0.0.1:{self.child(POSTGRES).port}/grace"

    @contextmanager
    def lost(self, name: str) -> Iterator[None]:
        """Kill Kafka or PostgreSQL and keep it from coming back until the block ends."""
        if name in self.contained:
            self.contained[name].kill()
            yield
            self.contained[name].start()
            return
        before = self.child(name)
        assert before.pid is not None, f"{name} does not run: {before}"
        os.kill(before.pid, signal.SIGKILL)
        # The supervisor starts it anew; before it answers, it is held.
        after = until(f"new process of {name}", lambda: self._successor(name, before.pid))
        after.suspend()
        try:
            yield
        finally:
            after.resume()

    def _successor(self, name: str, pid: int | None) -> psutil.Process | None:
        child = self.child(name)
        return process_of(child.pid, child.started) if child.pid != pid else None


@contextmanager
def running() -> Iterator[Stack]:
    """Yield a running stack; Kafka and PostgreSQL in containers where an engine answers, its own otherwise.

    GRACE_TEST_HOME names a folder whose stack is joined if it runs, and left running: for those who write these tests.
    """
    with ExitStack() as cleanup:
        kept = os.environ.get("GRACE_TEST_HOME")
        folder = kept or cleanup.enter_context(TemporaryDirectory(prefix="grace-e2e-"))
        Path(folder).mkdir(exist_ok=True)
        os.chmod(folder, 0o755)  # PostgreSQL's account must pass through
        cache = find_home(os.environ, Path.cwd()).cache
        environ = dict(os.environ) | SETTINGS | {"GRACE_HOME": f"{folder}/home", "GRACE_CACHE": str(cache)}
        watch = Watch.prepare(Path(folder) / "witnesses")
        environ |= cleanup.enter_context(model()) | {"GRACE_WITNESS_POLICY": str(watch.policy)}
        contained: dict[str, ContainerKafka | ContainerPostgres] = {}
        if use_containers(os.environ.get("GRACE_TEST_STACK")):
            kafka, postgres = ContainerKafka(), ContainerPostgres()
            contained = {KAFKA: cleanup.enter_context(kafka), POSTGRES: cleanup.enter_context(postgres)}
            environ |= {
                "GRACE_KAFKA_BOOTSTRAP": kafka.bootstrap,
                "GRACE_KAFKA_ADMIN_USERNAME": kafka.admin_username,
                "GRACE_KAFKA_ADMIN_PASSWORD": kafka.admin_password,
                "GRACE_DATABASE_URL": postgres.url(),
            }
        home = find_home(environ, Path.cwd())
        if not kept:
            cleanup.callback(down, home)
        plant(home)
        try:
            up(home, environ, Silent(), timeout_s=START_TIMEOUT_S, tethered=not kept)
            cleanup.enter_context(watch.running((home.publication / "vkey").read_text().strip(), home.logs))
        except (CliError, AssertionError) as error:
            error.add_note(f"the logs are kept in {keep_logs(home, 'start')}")
            raise
        yield Stack(home, environ, watch, contained)
