"""Replacing by itself whatever has done enough and needs no people; saying what is due and needs them.

The epochs and the keys below the root are replaced where they are taken up (`notarizing.py`). Here it is what stands
above them or beside: the key-encryption key, the CA, the root, the services' certificates.
"""

import asyncio
from collections.abc import Awaitable
from datetime import date
from typing import Final, get_args

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage
from prometheus_client import Gauge

from grace_crypto_signer.domain.keyring import Level, RotationPolicy
from grace_crypto_signer.ports import Rotation, Uses

DUE: Final = Gauge("grace_key_due", "Whether a level's key has done enough and is not replaced yet", ["level"])
_HERE: Final[frozenset[Level]] = frozenset({"kek", "ca", "root"})
_log = structlog.get_logger(__name__)


class Rotating:
    """Looks every `every_s` seconds at what is due."""

    def __init__(self, rotation: Rotation, uses: Uses, clock: Clock, policy: RotationPolicy, *, every_s: float) -> None:
        self._rotation = rotation
        self._uses = uses
        self._clock = clock
        self._policy = policy
        self._every_s = every_s
        self._told: dict[Level, date] = {}

    async def run(self) -> None:
        """Look until cancelled, and write down then what was counted since the last look."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.look()
        finally:
            await self._attempt(self._write_down())

    async def look(self) -> None:
        """Finish what was cut short, replace what is due, tell what people have to replace."""
        await self._attempt(self._write_down())
        await self._attempt(self._finish())
        for level in sorted(_HERE):
            await self._attempt(self._replace_if_due(level))
        await self._attempt(self._tell())

    async def _write_down(self) -> None:
        self._uses.write_down()

    async def _finish(self) -> None:
        for done in await self._rotation.finish(self._clock.now()):
            _log.info("key_change_finished", what=done)

    async def _replace_if_due(self, level: Level) -> None:
        now, use = self._clock.now(), self._rotation.used()[level]
        why = self._policy.due(level, use, now)
        if why is not None and self._rotation.command(level) is None:
            made = await self._rotation.replace(level, now)
            _log.info("key_replaced", level=level, why=why, uses=use.times, key_id=made)

    async def _tell(self) -> None:
        """Set the gauges, and log once a day, and once a start, what waits for people."""
        now = self._clock.now()
        due = {level: why for level, use in self._rotation.used().items() if (why := self._policy.due(level, use, now))}
        for level in get_args(Level):
            DUE.labels(level).set(level in due)
        for level, why in due.items():
            command = self._rotation.command(level)
            if command is not None and self._told.get(level) != now.date():
                self._told[level] = now.date()
                _log.warning("key_due", level=level, why=why, command=command)

    async def _attempt(self, work: Awaitable[None]) -> None:
        """Let one level's trouble leave the others to go on; whatever failed is tried again at the next look."""
        try:
            await work
        except Refused as error:
            _log.error("keys_kept", why=str(error))
        except Unready as error:
            _log.info("rotation_waits", why=str(error))
        except Exception as error:
            if not is_outage(error):
                raise
            _log.warning("rotation_waits", missing=describe_outage(error))
