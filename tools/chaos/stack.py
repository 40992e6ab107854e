"""A Grace of chaos's own, whose processes can be killed from outside and told to kill themselves."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from grace_cli.stack.credentials import read_env_file
from grace_cli.stack.home import Home, find_home
from grace_cli.stack.lifecycle import down, running_status, up
from grace_cli.stack.plan import StackPlan
from grace_cli.stack.progress import Silent
from grace_cli.stack.status import ChildStatus, State
from grace_common.testing.failpoints import LATER, Reached, ask, deaths
from grace_common.transparency.note import VerifierKey

from tools.chaos.patience import PATIENCE_S, until

KAFKA, POSTGRES = "kafka", "postgres"
_START_TIMEOUT_S: Final = 300.0
SETTINGS: Final = {
    "GRACE_FAILPOINT": LATER,
    "GRACE_RESTART_LONGEST_S": "1",
    "GRACE_OUTBOX_RESEND_S": "10",
    "GRACE_EPOCHS_EVERY_S": "2",  # keys that were changed are taken up at once
    # limits that would turn the load away
    "GRACE_KEY_RATE": "1000000/second",
    "GRACE_MAX_BACKLOG": "1000000",
    "GRACE_REFUSAL_RATE": "1000000/second",
}


@dataclass(frozen=True)
class Stack:
    """A running Grace."""

    home: Home
    environ: Mapping[str, str]

    @property
    def children(self) -> dict[str, ChildStatus]:
        """What runs, by name; empty while the supervisor writes its status."""
        status = running_status(self.home)
        return {child.name: child for child in status.children} if status else {}

    @property
    def ready(self) -> bool:
        status = running_status(self.home)
        return status is not None and status.ready

    @property
    def url(self) -> str:
        """The gateway's address, which may change when it starts anew; empty while it has none."""
        gateway = self.children.get("gateway")
        return f"http://127.0.0.1:{gateway.port}" if gateway else ""

    def key(self, user: str) -> str:
        return str(json.loads((self.home.credentials / "api-keys.json").read_text())[user]["key"])

    def credentials(self, principal: str) -> dict[str, str]:
        return read_env_file(self.home.credentials / f"{principal}.env")

    @property
    def log_key(self) -> VerifierKey:
        return VerifierKey.parse((self.home.publication / "vkey").read_text().strip())

    def ask(self, service: str, failpoint: str) -> None:
        """Let a service die at a stage."""
        ask(self.home.state(service), failpoint)

    def deaths(self, service: str) -> list[Reached]:
        return deaths(self.home.state(service))

    def kill(self, name: str) -> int | None:
        """End a process as a crash would; return its id, None when it does not run."""
        child = self.children.get(name)
        if child is None or child.pid is None:
            return None
        try:
            os.kill(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return child.pid

    def wipe(self, name: str) -> int | None:
        """End Kafka as a crash would, and take away all that it ever wrote before it is started anew."""
        records = self.home.root / name / "records"
        killed = self.kill(name)
        records.rename(records.with_name(f"records-lost-{time.time_ns()}"))
        return killed

    async def until_back(self, name: str, killed: int, timeout_s: float = PATIENCE_S) -> float:
        """Return the moment, in seconds since 1970, when a successor of the killed process is ready."""

        def successor() -> bool:
            child = self.children.get(name)
            return child is not None and child.pid not in (None, killed) and child.state is State.READY

        await until(f"successor of {name} that is ready", successor, timeout_s)
        return time.time()

    async def until_ready(self, timeout_s: float = PATIENCE_S) -> None:
        await until("stack that is ready", lambda: self.ready, timeout_s)


@contextmanager
def running(folder: str | None = None, plan: StackPlan | None = None) -> Iterator[Stack]:
    """Yield a fresh stack in a folder of its own; the servers are always its own, for they are killed and wiped.

    folder  where the home is kept, for those who want to look at it afterwards; else a temporary one
    plan    what to run; everything that is installed without it
    """
    with TemporaryDirectory(prefix="grace-chaos-") as temporary:
        root = Path(folder or temporary)
        root.mkdir(exist_ok=True)
        root.chmod(0o755)  # PostgreSQL's account must pass through
        cache = find_home(os.environ, Path.cwd()).cache
        servers = ("GRACE_KAFKA_", "GRACE_DATABASE_", "GRACE_HOME")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(servers)}
        environ |= SETTINGS | {"GRACE_HOME": str(root / "home"), "GRACE_CACHE": str(cache)}
        home = find_home(environ, root)
        try:
            up(home, environ, Silent(), plan, _START_TIMEOUT_S, tethered=True)
            yield Stack(home, environ)
        finally:
            down(home)
