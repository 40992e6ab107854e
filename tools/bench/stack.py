"""A stack that only the benchmark uses: its own state folder, limits out of the way, torn down at the end."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg
import psutil
from grace_cli.stack.home import Home, find_home
from grace_cli.stack.lifecycle import down, running_status, up
from grace_cli.stack.progress import Silent
from grace_common.runtime.settings import Settings
from pydantic import SecretStr

ROOT: Final = Path(__file__).parents[2]
_LINE = re.compile(r"^(?:export )?([A-Z_]+)=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Bench:
    """The running stack as the measurements see it."""

    home: Home
    environ: dict[str, str]
    cold_up_s: float
    warm_up_s: float

    @property
    def url(self) -> str:
        status = running_status(self.home)
        if status is None:
            raise RuntimeError("the benchmark's stack has ended")
        return status.url

    def key(self, user: str) -> str:
        keys = json.loads((self.home.credentials / "api-keys.json").read_text())
        return str(keys[user]["key"])

    def pid(self, name: str) -> int:
        status = running_status(self.home)
        pid = next((child.pid for child in status.children if child.name == name), None) if status else None
        if pid is None:
            raise RuntimeError(f"{name} does not run")
        return pid

    def memory_mib(self) -> dict[str, float]:
        """Return each process's resident memory."""
        status = running_status(self.home)
        return {
            child.name: psutil.Process(child.pid).memory_info().rss / 2**20
            for child in (status.children if status else ())
            if child.pid
        }

    def cpu_s(self, name: str) -> float:
        """Return the CPU seconds of a process and of its living children: PostgreSQL works in those."""
        process = psutil.Process(self.pid(name))
        total = 0.0
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
        return total

    def settings(self, service: str) -> Settings:
        """Return a service's own settings, read from its running process: it is our child, on our machine."""
        environment = psutil.Process(self.pid(service)).environ()
        fields = {
            name.removeprefix("GRACE_").lower(): value
            for name, value in environment.items()
            if name.startswith("GRACE_") and name.removeprefix("GRACE_").lower() in Settings.model_fields
        }
        for secret in ("kafka_password", "database_url"):
            fields[secret] = SecretStr(fields[secret])  # type: ignore[assignment]
        return Settings(**fields)  # type: ignore[arg-type]

    def tree_size(self) -> int:
        """Return the size of the newest published checkpoint."""
        return int((self.home.publication / "checkpoint").read_text().splitlines()[1])

    async def until_quiet(self, seconds: float = 2.0) -> None:
        """Wait until the ledger has not grown for a while: what came before is done."""
        import asyncio

        size, since = self.tree_size(), time.monotonic()
        bound = time.monotonic() + 300
        while time.monotonic() - since < seconds:
            if time.monotonic() > bound:
                raise RuntimeError("the ledger does not come to rest")
            await asyncio.sleep(0.2)
            if (now := self.tree_size()) != size:
                size, since = now, time.monotonic()


@contextmanager
def running() -> Iterator[Bench]:
    """Yield a fresh stack; the second of its two starts is the warm one."""
    with TemporaryDirectory(prefix="grace-bench-") as folder:
        os.chmod(folder, 0o755)
        environ = dict(os.environ) | {
            "GRACE_HOME": str(Path(folder) / "home"),
            "GRACE_CACHE": os.environ.get("GRACE_CACHE", str(ROOT / ".grace" / "artifacts")),
            "GRACE_KEY_RATE": "1000000/second",
            "GRACE_MAX_BACKLOG": "1000000",
            "GRACE_OUTBOX_RESEND_S": "3600",
        }
        home = find_home(environ, ROOT)
        try:
            started = time.monotonic()
            up(home, environ, Silent())
            cold = time.monotonic() - started
            down(home)
            started = time.monotonic()
            up(home, environ, Silent())
            yield Bench(home, environ, cold, time.monotonic() - started)
        finally:
            down(home)


async def bare_table(settings: Settings) -> asyncpg.Pool:
    """Return a pool on the service's schema with the table of the bare handler."""
    pool = await asyncpg.create_pool(settings.database_url.get_secret_value(), min_size=8, max_size=8)
    await pool.execute("CREATE TABLE IF NOT EXISTS bare (id uuid PRIMARY KEY, body text NOT NULL)")
    return pool
