"""Where the stack keeps its state: one folder, `.grace/` unless GRACE_HOME names another."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grace_cli.errors import CliError

FOLDER = ".grace"


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files below the state folder; every secret file has mode 0600."""

    root: Path
    cache: Path

    @property
    def credentials(self) -> Path:
        return self.root / "credentials"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def publication(self) -> Path:
        """The ledger's static files: tiles, entry bundles, checkpoint."""
        return self.root / "log"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def lock(self) -> Path:
        return self.root / "supervisor.lock"

    def identity(self, service: str) -> Path:
        return self.root / "identity" / service

    def state(self, service: str) -> Path:
        return self.root / "state" / service

    def make(self) -> None:
        """Make the folders.

        raises  CliError when that is not allowed or there is no space
        """
        try:
            # Others may pass through (PostgreSQL's account must), but not list; what is secret lies deeper.
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for folder in (self.credentials, self.logs, self.root / "identity", self.root / "state"):
                folder.mkdir(mode=0o700, exist_ok=True)
            self.publication.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise CliError(
                f"{self.root} cannot be made: {error.strerror}", "name a writable folder in GRACE_HOME"
            ) from error


def find_home(environ: Mapping[str, str], start: Path) -> Home:
    """Return the state folder: GRACE_HOME, else the nearest `.grace/` from `start` upwards, else one in `start`.

    Upwards, a folder with a `.git` counts as the repository's root, and the search ends there.
    """
    if named := environ.get("GRACE_HOME"):
        root = Path(named).absolute()
    else:
        root = start / FOLDER
        for folder in (start, *start.parents):
            if (folder / FOLDER).is_dir() or (folder / ".git").exists():
                root = folder / FOLDER
                break
    cache = environ.get("GRACE_CACHE")
    return Home(root, Path(cache).absolute() if cache else root / "artifacts")


def write_secret(path: Path, content: str) -> None:
    """Replace a file as a whole with one that only its owner reads."""
    write_whole(path, content, 0o600)


def write_whole(path: Path, content: str, mode: int = 0o644, durable: bool = True) -> None:
    """Replace a file as a whole, so that a reader sees the old content or the new one.

    durable  whether it must survive a power cut
    raises  CliError when the disk is full or the folder may not be written
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> CliError:
    return CliError(f"{path} cannot be written: {error.strerror}", "free some space, or fix the folder's mode")
