"""Hearing that the log's key is due: the key directory says so where the root is at hand, else people are told.

Nothing is kept or tried again here: the audit-log repeats what it proposes until the ledger shows it done.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import structlog
from grace_common.contract import envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.ledger import LogKeyRetirementProposed, LogKeySuccessionProposed
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.seal import SealedRecord
from grace_common.transparency.note import VerifierKey

from grace_crypto_signer.ports import LogDirectory, WitnessMemory

Proposed = LogKeySuccessionProposed | LogKeyRetirementProposed
_TYPES: Final = (LogKeySuccessionProposed.TYPE.encode(), LogKeyRetirementProposed.TYPE.encode())
_log = structlog.get_logger(__name__)


class LogSuccession:
    """Handler of what the audit-log proposes for its key, which only its own seal can; the newest counts."""

    def __init__(self, directory: LogDirectory, memory: WitnessMemory, clock: Clock) -> None:
        self._directory = directory
        self._memory = memory
        self._clock = clock
        self._proposed: Proposed | None = None
        self._heard = asyncio.Event()
        self._told = ""

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Take the newest proposal."""
        for record in reversed(records):
            if any(type_ in record.value for type_ in _TYPES):
                try:
                    event = envelope.open(record.value).event
                except Refused as error:
                    _log.warning("proposal_refused", offset=record.offset, why=str(error))
                    continue
                if isinstance(event, Proposed):
                    self._proposed = event
                    self._heard.set()
                    return

    async def run(self) -> None:
        """Do what is proposed until cancelled."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            try:
                await self.do_proposed()
                self._told = ""
            except Exception as error:
                if not (is_outage(error) or isinstance(error, Refused | Unready)):
                    raise
                why = describe_outage(error) if is_outage(error) else str(error)
                if why != self._told:
                    _log.warning("log_key_waits", why=why)
                self._told = why

    async def do_proposed(self) -> None:
        """Let the key directory say what is proposed; raises Refused, Unready."""
        now = self._clock.now().replace(microsecond=0)
        match self._proposed:
            case LogKeySuccessionProposed(log_key=leading, successor=successor):
                keys = VerifierKey.parse(leading), VerifierKey.parse(successor)
                await asyncio.to_thread(self._directory.succeed_log, *keys, now)
            case LogKeyRetirementProposed(log_key=leading, older=older):
                await self._retire(VerifierKey.parse(leading), VerifierKey.parse(older), now)

    async def _retire(self, leading: VerifierKey, older: VerifierKey, now: datetime) -> None:
        known = await self._memory.newest(leading.name)
        witnessed = known.log_key if known is not None else None
        await asyncio.to_thread(self._directory.retire_log, leading, older, witnessed, now)
