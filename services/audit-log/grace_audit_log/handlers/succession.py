"""Replacing the log's key by policy: the next one is made when it is due, and what is due is said until it is done.

The key directory does what is said here, and the log's keys follow it (`domain/succession.py`): nothing is kept
besides, so whatever a crash or the broker loses is said again with the next look.
"""

import asyncio

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage

from grace_audit_log.domain.announcement import Voice
from grace_audit_log.domain.succession import SuccessionPolicy, is_due, outlived
from grace_audit_log.handlers.sealing import Sealing
from grace_audit_log.ports import Announcer, LedgerReader, OwnSuccession

_log = structlog.get_logger(__name__)


class Succession:
    """Looks now and then whether the log's key is to be succeeded, or the one before it may end."""

    def __init__(
        self,
        sealing: Sealing,
        reader: LedgerReader,
        keys: OwnSuccession,
        announcer: Announcer,
        clock: Clock,
        policy: SuccessionPolicy,
        *,
        every_s: float,
    ) -> None:
        self._sealing = sealing
        self._reader = reader
        self._keys = keys
        self._announcer = announcer
        self._clock = clock
        self._policy = policy
        self._every_s = every_s
        self._voice = Voice(keys.identity().key.name)
        self._told = ""

    async def run(self) -> None:
        """Look until cancelled; an outage is waited out."""
        while True:
            await asyncio.sleep(self._every_s)
            if not self._sealing.writes:
                continue  # the one that writes says it
            try:
                await self.look()
            except Exception as error:
                if not (is_outage(error) or isinstance(error, Refused | Unready)):
                    raise
                why = describe_outage(error) if is_outage(error) else str(error)
                _log.warning("log_key_succession_waits", why=why)

    async def look(self) -> None:
        """Say what is due, if anything is; a successor that is due is made before.

        raises  Refused while the successor cannot be made
        """
        now, directory = self._clock.now(), self._keys.directory()
        leading = self._keys.identity().key
        older = outlived(leading, directory, self._policy, now)
        if older is not None:
            await self._say(f"{older} may end", self._voice.retirement_proposed(leading, older, now))
            return
        nth = None
        if self._policy.checkpoints is not None:
            nth = await self._reader.committed_at(self._policy.checkpoints)
        if is_due(leading, directory, self._policy, now, nth):
            successor = await asyncio.to_thread(self._keys.successor)
            said = self._voice.succession_proposed(leading, successor, now)
            await self._say(f"{successor} shall succeed {leading}", said)

    async def _say(self, what: str, value: bytes) -> None:
        await self._announcer.announce([value])
        if what != self._told:
            _log.info("log_key_proposed", what=what)
        self._told = what
