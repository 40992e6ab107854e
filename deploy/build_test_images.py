"""Build stand-ins for the images of the tests' Kafka and PostgreSQL where no registry can be reached.

    .venv/bin/python deploy/build_test_images.py

They hold the artifacts that `grace up` runs, with just enough of this machine around them (a shell, the shared
libraries), and keep the public images' promises that `grace_cli/testing/containers.py` relies on. Needs Linux with
glibc and a Docker engine; prints the settings under which the tests use them.
"""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import which
from typing import Final

from grace_cli.errors import CliError
from grace_cli.stack.artifacts import kafka_artifacts
from grace_cli.stack.embedded import default_cache
from grace_cli.stack.kafka import LOGGING, java_program
from grace_cli.stack.postgres import postgres_programs

KAFKA, POSTGRES = "grace-test/kafka", "grace-test/postgres"

# Accounts as the public images have them; neither server runs as root.
PASSWD: Final = "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\nappuser:x:1000:1000::/:/bin/sh\n"
GROUP: Final = "root:x:0:\npostgres:x:999:\nappuser:x:1000:\n"

KAFKA_SCRIPT: Final = """\
#!/bin/sh
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx512m} --sun-misc-unsafe-memory-access=allow \
  -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.properties -cp '/opt/kafka/libs/*' MAIN "$@"
"""

# Of the public image's entry point: the first start makes a cluster and asks for POSTGRES_PASSWORD from then on.
POSTGRES_SCRIPT: Final = """\
#!/bin/sh
set -eu
data=/var/lib/postgresql/data
postgres() { exec setpriv --reuid=999 --regid=999 --clear-groups "$@"; }
if [ ! -e $data/PG_VERSION ]; then
  mkdir -p $data
  printf '%s\\n' "$POSTGRES_PASSWORD" > /tmp/password
  chown 999:999 $data /tmp/password
  (postgres initdb -D $data -U postgres --pwfile=/tmp/password ${POSTGRES_INITDB_ARGS:-})
  rm /tmp/password
  echo 'host all all all scram-sha-256' >> $data/pg_hba.conf
fi
shift
postgres postgres -D $data -c listen_addresses='*' "$@"
"""

POSTGRES_INSTRUCTIONS: Final = """\
ENV PATH=/usr/local/pgsql/bin:/usr/bin
ENTRYPOINT ["/entrypoint"]
CMD ["postgres"]
STOPSIGNAL SIGINT
"""


class Root:
    """A root file system, as a tar archive in the making; paths in it are absolute."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", dereference=True)
        self._placed: set[str] = set()
        self._entry("/tmp", tarfile.DIRTYPE, 0o1777)
        self._entry("/bin", tarfile.SYMTYPE, 0o777, "usr/bin")
        self.write("/etc/passwd", PASSWD)
        self.write("/etc/group", GROUP)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content.encode()), mode
        self._tar.addfile(entry, io.BytesIO(content.encode()))

    def copy(self, source: Path, path: str) -> None:
        """Copy a file, or a folder with all below it; links become what they point to."""
        self._tar.add(source, path, filter=_owned_by_root)

    def programs(self, names: Iterable[str]) -> None:
        """Copy programs of this machine into /usr/bin, with the libraries that they load."""
        for name in names:
            found = which(name)
            if found is None:
                raise CliError(f"the program {name} is not installed")
            self.copy(Path(found), f"/usr/bin/{name}")
            self.libraries_of([Path(found)])

    def libraries_of(self, binaries: Iterable[Path], within: Path | None = None) -> None:
        """Copy the shared libraries that binaries load, save those within their own folder, which is copied whole."""
        for binary in binaries:
            listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
            for library in re.findall(r"(/\S+) \(0x", listed):
                inside = within is not None and Path(library).resolve().is_relative_to(within.resolve())
                if library not in self._placed and not inside:
                    self._placed.add(library)
                    self.copy(Path(library), library)

    def build(self, image: str, instructions: str) -> None:
        """Make the image from this and a Dockerfile's further instructions."""
        self._tar.close()
        context = io.BytesIO()
        dockerfile = f"FROM scratch\nADD root.tar /\n{instructions}".encode()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, content in {"Dockerfile": dockerfile, "root.tar": self._buffer.getvalue()}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        subprocess.run(["docker", "build", "-q", "-t", image, "-"], input=context.getvalue(), check=True)

    def _entry(self, path: str, kind: bytes, mode: int, target: str = "") -> None:
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.linkname = kind, mode, target
        self._tar.addfile(entry)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o755 if entry.isdir() else 0o444
    return entry


def kafka() -> None:
    """Kafka's scripts in /opt/kafka/bin, as containers.py calls them."""
    root, java = Root(), java_program().parent.parent
    root.programs(["sh"])
    root.copy(java, "/opt/java")
    root.libraries_of([java / "bin" / "java", *java.glob("lib/**/*.so")], within=java)
    for jar in default_cache().jars("Kafka", kafka_artifacts()):
        root.copy(jar, f"/opt/kafka/libs/{jar.name}")
    root.write("/opt/kafka/config/log4j2.properties", LOGGING)
    for script, main in {"kafka-storage.sh": "kafka.tools.StorageTool", "kafka-server-start.sh": "kafka.Kafka"}.items():
        root.write(f"/opt/kafka/bin/{script}", KAFKA_SCRIPT.replace("MAIN", main), 0o755)
    root.build(KAFKA, "USER appuser")


def postgres() -> None:
    """An entry point that understands POSTGRES_PASSWORD and POSTGRES_INITDB_ARGS, and settings after `postgres`."""
    root, programs = Root(), postgres_programs(default_cache())
    root.programs(["sh", "mkdir", "chown", "rm", "setpriv"])
    root.copy(programs, "/usr/local/pgsql")
    root.libraries_of([*programs.glob("bin/*"), *programs.glob("lib/**/*.so*")], within=programs)
    root.write("/entrypoint", POSTGRES_SCRIPT, 0o755)
    root.build(POSTGRES, POSTGRES_INSTRUCTIONS)


def settings() -> Mapping[str, str]:
    """What to export; testcontainers' own image, which would clean up after a killed session, is not to be had here."""
    return {
        "GRACE_TEST_STACK": "containers",
        "GRACE_TEST_KAFKA_IMAGE": KAFKA,
        "GRACE_TEST_POSTGRES_IMAGE": POSTGRES,
        "TESTCONTAINERS_RYUK_DISABLED": "true",
    }


if __name__ == "__main__":
    kafka()
    postgres()
    for name, value in settings().items():
        print(f"export {name}={value}")
