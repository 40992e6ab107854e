"""Kafka and PostgreSQL as the supervisor sees them: children of its own, or servers that exist already.

GRACE_KAFKA_BOOTSTRAP (with GRACE_KAFKA_ADMIN_USERNAME, GRACE_KAFKA_ADMIN_PASSWORD, GRACE_KAFKA_SECURITY_PROTOCOL) and
GRACE_DATABASE_URL (an administrator's) name existing ones.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from grace_cli.errors import CliError, Exit
from grace_cli.stack.accounts import reachable_folder, server_account
from grace_cli.stack.artifacts import ArtifactCache
from grace_cli.stack.command import Command
from grace_cli.stack.credentials import passwords
from grace_cli.stack.home import Home
from grace_cli.stack.kafka import ADMIN as KAFKA_ADMIN
from grace_cli.stack.kafka import ClientConfig, KafkaServer
from grace_cli.stack.kafka_programs import kafka_programs
from grace_cli.stack.ports import LOOPBACK, Ports
from grace_cli.stack.postgres import PostgresServer, postgres_programs

KAFKA_PORT: Final = 19092
CONTROLLER_PORT: Final = 19093
POSTGRES_PORT: Final = 15432
CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Kafka:
    """A Kafka to use.

    admin    librdkafka settings with which to provision
    command  makes the command of a local broker, may take seconds; None for an existing cluster
    answers  whether it takes requests; may block for two seconds
    """

    bootstrap: str
    admin: ClientConfig = field(repr=False)
    answers: Callable[[], bool]
    command: Callable[[], Command] | None = None

    @property
    def port(self) -> int | None:
        return int(self.bootstrap.rpartition(":")[2]) if self.command else None

    @property
    def protocol(self) -> str:
        return str(self.admin["security.protocol"])

    @property
    def authenticates(self) -> bool:
        return self.protocol.startswith("SASL")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL to use; fields as in `Kafka`. `admin_url` carries the administrator's password."""

    admin_url: str = field(repr=False)
    answers: Callable[[], bool]
    command: Callable[[], Command] | None = None

    @property
    def port(self) -> int | None:
        return urlsplit(self.admin_url).port if self.command else None


def connects(host: str, port: int) -> bool:
    """Tell whether a TCP connection can be made."""
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def kafka_of(home: Home, cache: ArtifactCache, ports: Ports, environ: Mapping[str, str]) -> Kafka:
    """Return the existing cluster that the environment names, else a local broker.

    raises  CliError when settings are incomplete or the local broker's programs cannot be had
    """
    if bootstrap := environ.get("GRACE_KAFKA_BOOTSTRAP"):
        return existing_kafka(bootstrap, environ)
    programs = kafka_programs(cache)
    server = KafkaServer(
        folder=home.root / "kafka",
        jars=programs.jars,
        java=programs.java,
        java_options=programs.options,
        port=ports.take("kafka", KAFKA_PORT),
        controller_port=ports.take("kafka-controller", CONTROLLER_PORT),
        password=passwords(home, KAFKA_ADMIN).kafka,
    )

    def command() -> Command:
        server.prepare()
        return server.command()

    return Kafka(server.bootstrap, server.admin_config(), server.answers, command)


def existing_kafka(bootstrap: str, environ: Mapping[str, str]) -> Kafka:
    """Return the cluster that settings name; CliError (wrong usage) when they are incomplete or make no sense."""
    username, password = environ.get("GRACE_KAFKA_ADMIN_USERNAME"), environ.get("GRACE_KAFKA_ADMIN_PASSWORD")
    if bool(username) != bool(password):
        raise CliError(
            "of GRACE_KAFKA_ADMIN_USERNAME and GRACE_KAFKA_ADMIN_PASSWORD only one is set",
            "set both, or neither for a cluster without authentication",
            Exit.USAGE,
        )
    admin: ClientConfig = {"bootstrap.servers": bootstrap}
    if username and password:
        admin |= {
            "security.protocol": environ.get("GRACE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": username,
            "sasl.password": password,
        }
    else:
        admin |= {"security.protocol": environ.get("GRACE_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")}
    places = [place.strip().rpartition(":") for place in bootstrap.split(",")]
    if not all(host and port.isdigit() for host, _, port in places):
        raise CliError(f"GRACE_KAFKA_BOOTSTRAP is {bootstrap!r}", "it reads host:port, several with commas", Exit.USAGE)
    return Kafka(bootstrap, admin, lambda: any(connects(host, int(port)) for host, _, port in places))


def postgres_of(home: Home, cache: ArtifactCache, ports: Ports, environ: Mapping[str, str]) -> Postgres:
    """Return the existing server that the environment names, else a local one.

    raises  CliError when the URL is none, or the local server's programs or account cannot be had
    """
    if url := environ.get("GRACE_DATABASE_URL"):
        return existing_postgres(url)
    programs = postgres_programs(cache)
    account = server_account()
    server = PostgresServer(
        programs=programs,
        folder=reachable_folder(home.root, account) / "postgres",
        port=ports.take("postgres", POSTGRES_PORT),
        password=passwords(home, "admin").database,
        account=account,
    )

    def command() -> Command:
        server.prepare()
        return server.command()

    return Postgres(server.url(), server.answers, command)


def existing_postgres(url: str) -> Postgres:
    """Return the server that a URL names; CliError (wrong usage) when it is no PostgreSQL URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
        raise CliError(
            "GRACE_DATABASE_URL is not a PostgreSQL URL",
            "it reads postgresql://user:password@host:port/database",
            Exit.USAGE,
        )
    host, port = parts.hostname, parts.port or 5432
    return Postgres(url, lambda: connects(host, port))


def kafka_listens(kafka: Kafka) -> bool:
    """Tell whether a local broker takes connections: the cheap check once it has answered."""
    assert kafka.port is not None
    return connects(LOOPBACK, kafka.port)
