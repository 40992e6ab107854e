"""Kafka and PostgreSQL in containers, with the same face as the embedded pair.

The images are settings: GRACE_TEST_KAFKA_IMAGE must have Kafka's scripts in /opt/kafka/bin, as the public one has;
GRACE_TEST_POSTGRES_IMAGE must understand POSTGRES_PASSWORD and POSTGRES_INITDB_ARGS, as the public one does. Where no
registry can be reached, deploy/build_test_images.py builds both.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from grace_cli.errors import CliError, Exit
from grace_cli.stack.kafka import ADMIN, HEAP, ClientConfig, KafkaServer
from grace_cli.stack.ports import LOOPBACK, free_port
from grace_cli.stack.postgres import CONFIGURATION, PostgresServer

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KAFKA_IMAGE: Final = "apache/kafka:4.4.0"
POSTGRES_IMAGE: Final = "postgres:18"
ENGINE: Final = "unix:///var/run/docker.sock"
START_TIMEOUT_S: Final = 120.0

# Configured as the embedded server is, but for where it listens, and with the same order of texts.
POSTGRES_SETTINGS: Final = {
    name: value for name, value in CONFIGURATION.items() if name not in ("listen_addresses", "unix_socket_directories")
}
INITDB_OPTIONS: Final = "--encoding=UTF8 --no-locale"

# Records lie in the container, which is removed with its test session.
RECORDS: Final = Path("/tmp/records")
KAFKA_SCRIPT: Final = """
set -e
if [ ! -e /tmp/records/meta.properties ]; then
  printf %s "$PROPERTIES" > /tmp/server.properties
  /opt/kafka/bin/kafka-storage.sh format --standalone --cluster-id=MkU3OEVBNTcwNTJENDM2Qg -c /tmp/server.properties \
    --add-scram "SCRAM-SHA-256=[name=admin,password=$PASSWORD]"
fi
exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
"""


def engine_answers(address: str | None = None) -> bool:
    """Tell whether a Docker engine on this machine answers; another machine's cannot publish ports on our loopback.

    address  as in DOCKER_HOST, which is asked when it is not given
    """
    address = address or os.environ.get("DOCKER_HOST") or ENGINE
    scheme, _, path = address.partition("://")
    if scheme != "unix":
        return False
    with closing(socket.socket(socket.AF_UNIX)) as engine:
        return engine.connect_ex(path) == 0


def published(container: "DockerContainer", inside: int, port: int) -> "DockerContainer":
    """Publish a container's port on the host's loopback interface alone."""
    # `with_bind_ports` knows no address, so it would publish on every interface; the engine's client below takes one.
    container.ports[f"{inside}/tcp"] = (LOOPBACK, port)  # type: ignore[assignment]
    return container


class Contained:
    """What both containers can do; use the subclasses."""

    def __init__(self, container: "DockerContainer", answers: Callable[[], bool]) -> None:
        self._container = container
        self._answers = answers
        self._begun = False

    def start(self) -> None:
        """Start, or start again on the same port and data, and wait until the server answers."""
        if self._begun:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
            self._begun = True
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._container.status == "exited" or time.monotonic() > deadline:
                out, err = self._container.get_logs()
                tail = (out + err).decode(errors="replace")[-2000:]
                raise CliError(f"the container did not answer; its log ends:\n{tail}", code=Exit.NOT_READY)
            time.sleep(0.1)

    def stop(self) -> None:
        """End gracefully; data and port stay, so `start` resumes."""
        self._container.get_wrapped_container().stop(timeout=30)

    def kill(self) -> None:
        """End as a crash would; data and port stay, so `start` recovers."""
        self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Stop gracefully and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End and remove all data."""
        self._container.stop()

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


class ContainerKafka(Contained):
    """A broker in a container, configured as the embedded one is."""

    def __init__(self, advertised_port: int | None = None) -> None:
        from testcontainers.core.container import DockerContainer

        self._server = server = KafkaServer(
            folder=RECORDS,
            jars=(),
            java=Path("java"),
            port=free_port(),
            controller_port=free_port(),
            password=secrets.token_urlsafe(24),
            advertised_port=advertised_port,
            listen_address="0.0.0.0",
        )
        container = (
            DockerContainer(os.environ.get("GRACE_TEST_KAFKA_IMAGE", KAFKA_IMAGE))
            .with_env("PROPERTIES", server.properties(RECORDS))
            .with_env("PASSWORD", server.password)
            .with_env("KAFKA_HEAP_OPTS", " ".join(HEAP))
            .with_command(["sh", "-c", KAFKA_SCRIPT])
        )
        super().__init__(published(container, server.port, server.port), server.answers)

    @property
    def bootstrap(self) -> str:
        return self._server.bootstrap

    @property
    def admin_username(self) -> str:
        return ADMIN

    @property
    def admin_password(self) -> str:
        return self._server.password

    def admin_config(self) -> ClientConfig:
        """Return librdkafka settings with which the super user connects."""
        return self._server.admin_config()


class ContainerPostgres(Contained):
    """A server in a container, configured as the embedded one is; `url("postgres")` is the super user's."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer

        self._server = server = PostgresServer(
            programs=Path("/usr"), folder=Path("/tmp"), port=free_port(), password=secrets.token_urlsafe(24)
        )
        container = (
            DockerContainer(os.environ.get("GRACE_TEST_POSTGRES_IMAGE", POSTGRES_IMAGE))
            .with_env("POSTGRES_PASSWORD", server.password)
            .with_env("POSTGRES_INITDB_ARGS", INITDB_OPTIONS)
            .with_command(["postgres", *(f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items())])
        )
        super().__init__(published(container, 5432, server.port), server.answers)

    @property
    def port(self) -> int:
        return self._server.port

    def url(self, database: str = "postgres") -> str:
        """Return the super user's connection URL, password included."""
        return self._server.url(database)
