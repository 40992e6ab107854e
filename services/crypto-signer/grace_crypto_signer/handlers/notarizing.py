"""Hearing every notarised topic: each record becomes signed entries on `grace.signature.v1`."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog
from grace_common.contract.errors import Refused
from grace_common.runtime import failpoint
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.seal import SealedRecord

from grace_crypto_signer.domain.entry import Draft, groups, sign, signed
from grace_crypto_signer.domain.entry import records as to_records
from grace_crypto_signer.domain.keyring import RotationPolicy, Use
from grace_crypto_signer.domain.notary import Notary
from grace_crypto_signer.ports import Epochs, Keys, Producer, Uses

_AT_A_STRETCH: Final = 50  # records between two turns of everything else in this process (10 ms)
_log = structlog.get_logger(__name__)


class Notarizing:
    """Handler of the stream of facts. It keeps nothing that must survive: records read again give the same entries."""

    def __init__(
        self,
        epochs: Epochs,
        keys: Keys,
        producer: Producer,
        clock: Clock,
        policy: RotationPolicy,
        uses: Uses,
        *,
        keys_every_s: float,
    ) -> None:
        self._epochs = epochs
        self._keys = keys
        self._producer = producer
        self._clock = clock
        self._policy = policy
        self._uses = uses
        self._keys_every_s = keys_every_s
        self._notary: Notary | None = None
        self._directories = 0  # versions published so far
        self._counted = 0  # operation keys told to the store so far
        self._signing = asyncio.Lock()  # what an older key signed is in the log before the directory that ends it

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Return when the entries of all records are acknowledged by the broker."""
        async with self._signing:
            notary = await self._ready()
            entries: list[Draft] = []
            sealed: Counter[str] = Counter()
            for number, record in enumerate(records, 1):
                try:
                    signer = record.signer
                    entries += notary.notarize(record.topic, record.key, record.value, signer.principal, signer.key_id)
                    sealed[signer.key_id] += 1
                except Refused as error:
                    # Whoever consumes the topic refuses it too and leaves its trace; here it only must not be signed.
                    _log.warning("not_notarized", topic=record.topic, offset=record.offset, why=str(error))
                if number % _AT_A_STRETCH == 0:
                    await asyncio.sleep(0)
            for number, group in enumerate(groups(entries), 1):
                sign(group)
                if number % _AT_A_STRETCH == 0:
                    await asyncio.sleep(0)
            if entries:
                failpoint.reached("notary", "signed")
                await self._producer.sign(to_records(entries))
            for key_id, times in (sealed + notary.signed).items():
                self._uses.count(key_id, times)
            notary.signed.clear()

    async def follow_keys(self) -> None:
        """Every now and then, replace what is due and take in what was replaced; runs until cancelled."""
        while True:
            await asyncio.sleep(self._keys_every_s)
            try:
                await self.rotate_if_due()
                await self.refresh()
                self._keys.renew(self._clock.now())
            except Refused as error:
                # Sealed by a key that people have to bring, or by nobody's: what is in memory goes on signing.
                _log.error("keys_kept", why=str(error))
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("keys_wait", missing=describe_outage(error))

    async def rotate_if_due(self) -> None:
        """Make the next epoch when the newest is old or much used."""
        now, derived = self._clock.now(), self._notary.derived if self._notary is not None else 0
        use = await self._epochs.use(derived - self._counted)
        self._counted = derived
        if why := self._policy.due("epoch", Use(use.since, use.operations), now):
            made = await self._epochs.rotate(now)
            _log.info("epoch_made", number=made.number, why=why, after_operations=use.operations)

    async def refresh(self) -> None:
        """Take in epochs, own keys and directories that were made since, by whomever."""
        notary = self._notary
        if notary is None:
            return  # the first record reads everything
        keyring = await self._epochs.load()
        if keyring.newest != notary.keyring.newest:
            notary.keyring = keyring
            _log.info("epoch_added", number=keyring.newest.number, not_before=keyring.newest.not_before.isoformat())
        directories = self._keys.directories()  # read before the keys: whatever key it ends was replaced by then
        own = self._keys.own()
        async with self._signing:
            if own != notary.own:
                # Published before it signs anything; what another key announced stays announced.
                await self._producer.sign(signed(Notary(keyring, own).key_entries()))
                notary.own = own
                _log.info("own_keys_changed", notary=own.notary.key_id, attestation=own.attestation.key_id)
            await self._publish_directories(notary, directories)

    async def _ready(self) -> Notary:
        """Return the notary; the first time, the signer's own keys are published before anything they sign."""
        if self._notary is None:
            directories = self._keys.directories()
            notary = Notary(await self._epochs.load(), self._keys.own())
            await self._producer.sign(signed(notary.key_entries()))
            await self._publish_directories(notary, directories)
            self._notary = notary
        return self._notary

    async def _publish_directories(self, notary: Notary, directories: Sequence[bytes]) -> None:
        """State the versions of the key directory that are new; one that cannot be read holds up no fact."""
        try:
            entries = [entry for one in directories[self._directories :] for entry in notary.directory_entries(one)]
        except Refused as error:
            _log.error("key_directory_not_stated", why=str(error))
            return
        if entries:
            await self._producer.sign(signed(entries))
        self._directories = len(directories)
