"""Kafka and PostgreSQL inside a test or a script: started, stopped, killed and restarted from Python.

    with EmbeddedKafka(cache) as kafka, EmbeddedPostgres(cache) as postgres:
        connect(kafka.bootstrap, postgres.url("postgres"))

Both die with the thread that started them (see lifeline.py), so start them from one that lasts: the main thread.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from grace_cli.errors import CliError, Exit
from grace_cli.stack.accounts import server_account
from grace_cli.stack.artifacts import ArtifactCache, kafka_artifacts
from grace_cli.stack.command import Command
from grace_cli.stack.home import find_home
from grace_cli.stack.kafka import ClientConfig, KafkaServer, java_program
from grace_cli.stack.ports import free_port
from grace_cli.stack.postgres import PostgresServer, postgres_programs
from grace_cli.stack.progress import PlainLines, Reporter

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05


def default_cache(reporter: Reporter | None = None) -> ArtifactCache:
    """Return the cache that GRACE_CACHE names, else the one in the state folder found from here upwards."""
    return ArtifactCache(find_home(os.environ, Path.cwd()).cache, reporter or PlainLines())


class Child:
    """A server process that can be stopped, killed and started again on the same data and port."""

    def __init__(self, name: str, command: Callable[[], Command], answers: Callable[[], bool], log: Path) -> None:
        self._name = name
        self._command = command
        self._answers = answers
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running process's id; CliError when it does not run."""
        if self._process is None:
            raise CliError(f"{self._name} does not run", code=Exit.NOT_RUNNING)
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it answers.

        raises  CliError when it ends before it answers, or does not answer in time; the log's end is in the message
        """
        command = self._command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command.tethered(), stdout=log, stderr=subprocess.STDOUT, **command.popen_arguments()
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                ended = f"ended with code {code}" if code is not None else f"did not answer in {START_TIMEOUT_S:.0f} s"
                raise CliError(f"{self._name} {ended}; its log ends:\n{last_lines(self._log)}", code=Exit.NOT_READY)
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End the process gracefully, by force after 30 s; nothing happens when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(self._command().stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the process and its children as a crash would: SIGKILL, nothing flushed."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None


def last_lines(path: Path, count: int = 15) -> str:
    """Return the last lines of a log file, empty when there is none."""
    if not path.exists():
        return ""
    file: IO[bytes]
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


class Embedded:
    """What both embedded servers can do; use the subclasses."""

    def __init__(self, folder: Path, child: Child) -> None:
        self.folder = folder
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Start, or start again on the same port and data."""
        self._child.start()

    def stop(self) -> None:
        """End gracefully; data and port stay, so `start` resumes."""
        self._child.stop()

    def kill(self) -> None:
        """End as a crash would; data and port stay, so `start` recovers."""
        self._child.kill()

    def restart(self) -> None:
        """Stop gracefully and start again."""
        self._child.stop()
        self._child.start()

    def close(self) -> None:
        """End and remove all data."""
        self._child.stop()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EmbeddedKafka(Embedded):
    """A broker with SCRAM and access control in a temporary folder.

    cache            where the jars lie or will lie; `default_cache()` when not given
    advertised_port  the port clients are told, where a proxy stands before the broker
    """

    def __init__(self, cache: ArtifactCache | None = None, advertised_port: int | None = None) -> None:
        folder = Path(tempfile.mkdtemp(prefix="grace-kafka-"))
        server = KafkaServer(
            folder=folder,
            jars=(cache or default_cache()).jars("Kafka", kafka_artifacts()),
            java=java_program(),
            port=free_port(),
            controller_port=free_port(),
            password=secrets.token_urlsafe(24),
            advertised_port=advertised_port,
        )
        self._server = server

        def command() -> Command:
            server.prepare()
            return server.command()

        super().__init__(folder, Child("Kafka", command, server.answers, folder / "kafka.log"))

    @property
    def bootstrap(self) -> str:
        return self._server.bootstrap

    @property
    def admin_username(self) -> str:
        return "admin"

    @property
    def admin_password(self) -> str:
        return self._server.password

    def admin_config(self) -> ClientConfig:
        """Return librdkafka settings with which the super user connects."""
        return self._server.admin_config()


class EmbeddedPostgres(Embedded):
    """A server in a temporary folder; `url("postgres")` is the super user's."""

    def __init__(self, cache: ArtifactCache | None = None) -> None:
        folder = Path(tempfile.mkdtemp(prefix="grace-postgres-"))
        account = server_account()
        if account is not None:
            folder.chmod(0o755)
        server = PostgresServer(
            programs=postgres_programs(cache or default_cache()),
            folder=folder,
            port=free_port(),
            password=secrets.token_urlsafe(24),
            account=account,
        )
        self._server = server

        def command() -> Command:
            server.prepare()
            return server.command()

        super().__init__(folder, Child("PostgreSQL", command, server.answers, folder / "postgres.log"))

    @property
    def port(self) -> int:
        return self._server.port

    def url(self, database: str = "postgres") -> str:
        """Return the super user's connection URL, password included."""
        return self._server.url(database)
