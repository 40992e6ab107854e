"""Kafka and PostgreSQL inside a test or a script: started, stopped, killed and restarted from Python.

    with EmbeddedKafka(cache) as kafka, EmbeddedPostgres(cache) as postgres:
        connect(kafka.bootstrap, postgres.url("postgres"))

Both die with the thread that started them (see lifeline.py), so start them from one that lasts: the main thread.
"""

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from grace_cli.stack.accounts import server_account
from grace_cli.stack.artifacts import ArtifactCache
from grace_cli.stack.child import Child
from grace_cli.stack.command import Command
from grace_cli.stack.home import find_home
from grace_cli.stack.kafka import ClientConfig, KafkaServer
from grace_cli.stack.kafka_programs import kafka_programs
from grace_cli.stack.ports import free_port
from grace_cli.stack.postgres import PostgresServer, postgres_programs
from grace_cli.stack.progress import PlainLines, Reporter


def default_cache(reporter: Reporter | None = None) -> ArtifactCache:
    """Return the cache that GRACE_CACHE names, else the one in the state folder found from here upwards."""
    return ArtifactCache(find_home(os.environ, Path.cwd()).cache, reporter or PlainLines())


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
        programs = kafka_programs(cache or default_cache())
        folder = Path(tempfile.mkdtemp(prefix="grace-kafka-"))
        server = KafkaServer(
            folder=folder,
            jars=programs.jars,
            java=programs.java,
            java_options=programs.options,
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
        programs = postgres_programs(cache or default_cache())
        folder = Path(tempfile.mkdtemp(prefix="grace-postgres-"))
        account = server_account()
        if account is not None:
            folder.chmod(0o755)
        server = PostgresServer(
            programs=programs,
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
