"""Hearing every notarised topic: each record becomes signed entries on `grace.signature.v1`."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from grace_common.contract.errors import Refused
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.seal import SealedRecord

from grace_crypto_signer.domain.notary import Notary, OwnKeys
from grace_crypto_signer.ports import Epochs, Producer

_AT_A_STRETCH: Final = 50  # records between two turns of everything else in this process (10 ms)
_log = structlog.get_logger(__name__)


class Notarizing:
    """Handler of the stream of facts. It keeps nothing that must survive: records read again give the same entries."""

    def __init__(self, epochs: Epochs, own: OwnKeys, producer: Producer, *, epochs_every_s: float) -> None:
        self._epochs = epochs
        self._own = own
        self._producer = producer
        self._epochs_every_s = epochs_every_s
        self._notary: Notary | None = None

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Return when the entries of all records are acknowledged by the broker."""
        notary = await self._ready()
        values: list[bytes] = []
        for number, record in enumerate(records, 1):
            try:
                values += notary.notarize(record.topic, record.key, record.value, record.signer.principal)
            except Refused as error:
                # Whoever consumes the topic refuses it too and leaves its trace; here it only must not be signed.
                _log.warning("not_notarized", topic=record.topic, offset=record.offset, why=str(error))
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        if values:
            await self._producer.sign(values)

    async def follow_epochs(self) -> None:
        """Every now and then, look for a new epoch seed; runs until cancelled."""
        while True:
            await asyncio.sleep(self._epochs_every_s)
            try:
                await self.refresh_epochs()
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("epochs_wait", missing=describe_outage(error))

    async def refresh_epochs(self) -> None:
        """Take in epochs that were made since."""
        keyring = await self._epochs.load()
        if self._notary is not None and keyring.newest != self._notary.keyring.newest:
            self._notary.keyring = keyring
            _log.info("epoch_added", number=keyring.newest.number, not_before=keyring.newest.not_before.isoformat())

    async def _ready(self) -> Notary:
        """Return the notary; the first time, the signer's own keys are published before anything they sign."""
        if self._notary is None:
            notary = Notary(await self._epochs.load(), self._own)
            await self._producer.sign(notary.key_entries())
            self._notary = notary
        return self._notary
