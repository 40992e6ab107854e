"""What the gateway does of itself every now and then: know new keys, watch its backlog, state what it only counted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from grace_common.runtime.outage import describe_outage, is_outage

from grace_gateway.api.door import Door
from grace_gateway.api.keyring import Keyring
from grace_gateway.ports import Ports

_KEYS_EVERY_S: Final = 2.0
_BACKLOG_EVERY_S: Final = 1.0
_REFUSALS_EVERY_S: Final = 60.0
_log = structlog.get_logger(__name__)


class Backlog:
    """How much is stated and not yet sent to Kafka: above the bound, no new work is taken."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._waiting = 0
        self._small = asyncio.Event()
        self._small.set()

    def lagging(self) -> str | None:
        """Return why no new work can be taken now, or None."""
        most = self._ports.settings.max_backlog
        if self._waiting <= most:
            return None
        return f"{self._waiting} facts wait to be sent and the limit is {most}: the pipeline cannot keep up, try later"

    async def refresh(self) -> None:
        """Count again."""
        self._waiting = await self._ports.journal.backlog()
        if self.lagging() is None:
            self._small.set()
        else:
            self._small.clear()

    async def until_small(self) -> None:
        """Return when new work can be taken."""
        await self._small.wait()


async def refresh_keys(ports: Ports, keyring: Keyring) -> None:
    """Know the API keys as they are now."""
    keyring.replace(await ports.keys.load())


async def run(ports: Ports, keyring: Keyring, backlog: Backlog, door: Door) -> None:
    """Do it all until cancelled; an outage of the database is waited out."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_every(_KEYS_EVERY_S, lambda: refresh_keys(ports, keyring)))
        group.create_task(_every(_BACKLOG_EVERY_S, backlog.refresh))
        group.create_task(_every(_REFUSALS_EVERY_S, door.refusals.state_counts))


async def _every(period_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:
            if not is_outage(error):
                raise
            _log.warning("upkeep_waits", missing=describe_outage(error))
        await asyncio.sleep(period_s)
