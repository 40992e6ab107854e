"""One PostgreSQL server as a child process, listening on the loopback interface alone."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from grace_cli.errors import CliError
from grace_cli.stack.accounts import Account, reachable_folder, server_account
from grace_cli.stack.artifacts import ArtifactCache, postgres_artifact
from grace_cli.stack.command import Command
from grace_cli.stack.disk import MIB, require_room
from grace_cli.stack.ports import LOOPBACK

ADMIN: Final = "postgres"
LEAST_ROOM_BYTES: Final = 32 * MIB  # to recover and to begin: two segments of its write-ahead log

# PostgreSQL documentation, "Message Formats": StartupMessage and the answers to it.
PROTOCOL: Final = 3 << 16
AUTHENTICATION_REQUEST: Final = b"R"

CONFIGURATION: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",  # a failing statement's text may carry personal data
    "log_line_prefix": "%m %u ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """What a server needs.

    programs  folder with bin/, lib/ and share/
    folder    where its data lie; when `account` is given, that account must be able to reach it
    password  of the super user `postgres`
    """

    programs: Path
    folder: Path
    port: int
    password: str = field(repr=False)
    account: Account | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the super user's connection URL, password included."""
        return f"postgresql://{ADMIN}:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the database cluster at the first start.

        raises  CliError when the disk is full, the folder cannot be written, or initdb fails
        """
        require_room("PostgreSQL", self.folder, LEAST_ROOM_BYTES)
        if (self._data / "PG_VERSION").exists():
            self._drop_stale_lock()
            return
        try:
            self._initialise()
        except OSError as error:
            raise CliError(
                f"PostgreSQL's folder {self.folder} cannot be written: {error.strerror}",
                "free some space or fix its mode",
            ) from error

    def command(self) -> Command:
        """Return the command that runs the server, to be called after `prepare`."""
        settings = [part for name, value in CONFIGURATION.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=[str(self.programs / "bin" / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings],
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd=self.folder,
            stop_signal=signal.SIGINT,  # "fast": ends open transactions, then writes a checkpoint
            account=self.account,
        )

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Tell whether the server takes connections: while it starts or recovers, it answers with an error instead."""
        parameters = b"user\0" + ADMIN.encode() + b"\0database\0postgres\0\0"
        startup = struct.pack("!ii", 8 + len(parameters), PROTOCOL) + parameters
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout_s) as connection:
                connection.sendall(startup)
                return connection.recv(1) == AUTHENTICATION_REQUEST
        except OSError:
            return False

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        self.folder.mkdir(mode=0o755 if self.account else 0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".initdb-", dir=self.folder))
        try:
            password_file = scratch / "password"
            password_file.touch(mode=0o600)
            password_file.write_text(self.password)
            cluster = scratch / "data"
            cluster.mkdir(mode=0o700)
            if self.account is not None:
                for path in (scratch, password_file, cluster):
                    os.chown(path, self.account.uid, self.account.gid)
            self._initdb(cluster, password_file)
            password_file.unlink()
            cluster.rename(self._data)  # atomic: an interrupted initdb leaves no half cluster behind
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _initdb(self, cluster: Path, password_file: Path) -> None:
        options = ["-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "-U", ADMIN, f"--pwfile={password_file}"]
        done = subprocess.run(
            [str(self.programs / "bin" / "initdb"), "-D", str(cluster), *options],
            cwd=self.folder,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise CliError(
                f"PostgreSQL's initdb failed: {said[-1] if said else f'exit code {done.returncode}'}",
                f"look at the free space and the modes above {self.folder}",
            )

    def _drop_stale_lock(self) -> None:
        """Remove the lock file of a server that was killed, where its process id belongs to another program by now.

        PostgreSQL itself ignores a dead id, but refuses to start when the id was given to a new process of its account.
        """
        lock = self._data / "postmaster.pid"
        try:
            pid = int(lock.read_text().splitlines()[0])
            running = Path(f"/proc/{pid}/exe").resolve()
        except (OSError, ValueError, IndexError):
            return
        if running != (self.programs / "bin" / "postgres").resolve():
            lock.unlink(missing_ok=True)


def postgres_programs(cache: ArtifactCache) -> Path:
    """Return the folder with PostgreSQL's bin/, where the account it runs under can reach it.

    raises  CliError when there is no build for this machine, no such account, or the download fails
    """
    artifact = postgres_artifact()
    cache.make_folder()
    folder = reachable_folder(cache.folder, server_account())
    return cache.unpacked("PostgreSQL", artifact, folder / "programs")
