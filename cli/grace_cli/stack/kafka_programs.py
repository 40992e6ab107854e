"""What a broker is run from: its jars, a Java runtime, and an archive of loaded classes that halves its start.

The archive (JEP 514, `-XX:AOTCacheOutput`) is recorded once per cache, by a broker that starts and stops in a temporary
folder. A start then takes 1.9 instead of 4 seconds of CPU. Without the archive, or with one that does not fit, Java
starts as usual: nothing depends on it.
"""

import fcntl
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from grace_cli.errors import CliError
from grace_cli.stack.artifacts import ArtifactCache, kafka_artifacts
from grace_cli.stack.child import Child
from grace_cli.stack.command import Command
from grace_cli.stack.kafka import KafkaServer, java_program
from grace_cli.stack.ports import free_port

RECORDING_TIMEOUT_S: Final = 180.0

# Java 25 warns of stubs whose names changed between recording and use; it links them anew, as without an archive.
QUIET: Final = ("-Xlog:disable", "-Xlog:all=error:stderr")


@dataclass(frozen=True, slots=True)
class KafkaPrograms:
    """Jars of the class path, the Java program and the options that use the archive."""

    jars: Sequence[Path]
    java: Path
    options: Sequence[str] = ()


def kafka_programs(cache: ArtifactCache) -> KafkaPrograms:
    """Return what to run a broker from, downloading and recording what is absent.

    raises  CliError when the jars or the Java runtime cannot be had
    """
    plain = KafkaPrograms(cache.jars("Kafka", kafka_artifacts()), java_program())
    archive = cache.folder / f"kafka-{_digest(plain)}.aot"
    if not archive.exists():
        try:
            with (cache.folder / "recording.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may share the cache
                if not archive.exists():
                    cache.say("Kafka: recording its start once, so that later ones take half the time")
                    _record(plain, archive)
        except (CliError, OSError):
            return plain
    return KafkaPrograms(plain.jars, plain.java, (f"-XX:AOTCache={archive}", *QUIET)) if archive.exists() else plain


def _digest(programs: KafkaPrograms) -> str:
    """Return what the archive depends on: the class path, in order, and the Java release."""
    release = programs.java.parent.parent / "release"
    parts = [*map(str, programs.jars), release.read_text() if release.exists() else str(programs.java)]
    return sha256("\n".join(parts).encode()).hexdigest()[:12]


def _record(programs: KafkaPrograms, archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="grace-recording-", dir=archive.parent) as name:
        folder = Path(name)
        recorded = folder / "recorded.aot"
        server = KafkaServer(
            folder=folder / "kafka",
            jars=programs.jars,
            java=programs.java,
            port=free_port(),
            controller_port=free_port(),
            password=secrets.token_urlsafe(24),
        )
        server.prepare()
        plain = server.command()
        program, *options = plain.argv
        command = Command(
            [program, f"-XX:AOTCacheOutput={recorded}", *options], plain.env, plain.cwd, plain.stop_signal
        )
        child = Child("Kafka", lambda: command, server.answers, folder / "kafka.log")
        child.start()
        child.stop(RECORDING_TIMEOUT_S)  # Java writes the archive as it ends
        if recorded.exists():
            recorded.chmod(0o644)
            recorded.replace(archive)
