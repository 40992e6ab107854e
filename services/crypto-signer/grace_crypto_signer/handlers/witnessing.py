"""Witnessing the ledger: what the audit-log announces is cosigned once it is proven to continue what was cosigned.

Nothing that the audit-log says is believed. The proofs are made from the published tiles, each checked against the
signed root; the log's key is the configured one, else the one that signed the first checkpoint ever cosigned here. It
is succeeded by a key that the key directory lists after it, once both have signed one checkpoint.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import structlog
from grace_common.contract import envelope, topics
from grace_common.contract.envelope import Envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.ledger import CheckpointPublished
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.clock import Clock
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.seal import SealedRecord
from grace_common.transparency.checkpoint import Checkpoint
from grace_common.transparency.merkle import ProofInvalid
from grace_common.transparency.note import Note, SignatureType, VerifierKey
from grace_common.transparency.tile import TileReader, TreeReader
from grace_common.transparency.witness import Seen, check_growth, open_signed, submission_from_tiles, succeed
from prometheus_client import Counter, Gauge

from grace_crypto_signer.domain.keyring import SigningKey
from grace_crypto_signer.ports import Producer, Uses, Witnessed, WitnessMemory

COSIGNED_SIZE: Final = Gauge("grace_witness_cosigned_size", "Entries below the newest checkpoint that was cosigned")
INCONSISTENT: Final = Counter("grace_witness_inconsistent_total", "Checkpoints that the witness refused to cosign")
_ANNOUNCEMENT: Final = CheckpointPublished.TYPE.encode()
_log = structlog.get_logger(__name__)


class Witnessing:
    """Handler of the stream of announcements. The newest counts: at most one checkpoint is cosigned every `every_s`."""

    def __init__(
        self,
        memory: WitnessMemory,
        log: TileReader,
        producer: Producer,
        name: str,
        key: Callable[[], SigningKey],
        listed: Callable[[str], Sequence[VerifierKey]],
        clock: Clock,
        uses: Uses,
        *,
        log_key: VerifierKey | None,
        every_s: float,
    ) -> None:
        self._memory = memory
        self._log = log
        self._producer = producer
        self._name = name
        self._key = key
        self._listed = listed  # the keys of a log by the key directory, the newest last
        self._clock = clock
        self._uses = uses
        self._log_key = log_key
        self._every_s = every_s
        self._newest: bytes | None = None
        self._heard = asyncio.Event()
        self._missing: str | None = None
        self._inconsistent: str | None = None

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Take the newest announced checkpoint; what is lost with this process stands in the published log."""
        for record in reversed(records):
            if _ANNOUNCEMENT in record.value:
                try:
                    event = envelope.open(record.value).event
                except Refused as error:
                    _log.warning("announcement_refused", offset=record.offset, why=str(error))
                    continue
                if isinstance(event, CheckpointPublished):
                    self._newest = event.checkpoint.encode()
                    self._heard.set()
                    return

    async def check(self) -> None:
        """Raise Unready once a checkpoint was refused, until the next start, and while nothing can be cosigned."""
        if self._inconsistent is not None:
            raise Unready(f"ALARM: the log is not what it was, and is not cosigned: {self._inconsistent}")
        if self._missing is not None:
            raise Unready(f"checkpoints wait for their cosignature: {self._missing}")

    async def run(self) -> None:
        """Cosign until cancelled, first of all what is published already; an outage is waited out."""
        try:
            published = await asyncio.to_thread(self._log.read, "checkpoint")
        except (Unready, OSError):
            published = None  # nothing yet, or it cannot be read now: the next announcement comes
        if self._newest is None and published is not None:
            self._newest = published
            self._heard.set()
        while True:
            await self._heard.wait()
            self._heard.clear()
            try:
                await self.cosign_newest()
                self._missing = None
            except Exception as error:
                if not (is_outage(error) or isinstance(error, Unready)):
                    raise
                self._missing = str(error) if isinstance(error, Unready) else describe_outage(error)
                _log.warning("cosigning_waits", missing=self._missing)
                self._heard.set()
            await asyncio.sleep(self._every_s)

    async def cosign_newest(self) -> None:
        """Cosign the newest announced checkpoint, or raise the alarm and do not."""
        note = self._newest
        if note is None:
            return
        try:
            await self._cosign(note)
        except Refused as error:
            INCONSISTENT.inc()
            self._inconsistent = str(error)
            _log.error("inconsistent_checkpoint", why=str(error), checkpoint=note.decode(errors="replace"))

    async def _cosign(self, note: bytes) -> None:
        origin = Checkpoint.parse(Note.parse(note).text).origin
        known = await self._memory.newest(origin) or Witnessed(await self._first_key(), Seen())
        listed = await asyncio.to_thread(self._listed, origin)
        trusted = self._trusted(known.log_key, listed)
        tree = open_signed(note, list(dict.fromkeys((trusted, *listed))))
        if tree.checkpoint.size < known.tree.size:
            await asyncio.to_thread(self._check_older, tree.checkpoint, known.tree)
            return
        known = Witnessed(succeed(tree, listed, trusted), known.tree)
        submission = await asyncio.to_thread(submission_from_tiles, self._log, note, known.tree.size)
        check_growth(submission, tree, known.tree)
        now = self._clock.now()
        own = self._key()  # as it is now: a command replaces it while this runs
        witness = VerifierKey(self._name, own.public_key, SignatureType.COSIGNATURE)
        _, cosigned = tree.cosigned(witness, own.sign, int(now.timestamp()))
        self._uses.count(own.key_id)
        await self._memory.keep(known, tree, cosigned)  # before anybody sees it
        event = CheckpointCosigned(
            tree_size=tree.checkpoint.size,
            root_sha256=tree.checkpoint.root.hex(),
            checkpoint=cosigned.encode().decode(),
            witness=str(witness),
        )
        operation = uuid5(NAMESPACE_URL, f"grace-witness:{witness}")
        await self._producer.cosign(
            Envelope(
                id=uuid5(operation, event.checkpoint),
                source=f"/grace/{topics.CRYPTO_SIGNER}",
                time=now,
                correlation=event.partition_key,
                causation=None,
                operation=operation,
                actor=topics.CRYPTO_SIGNER,
                traceparent=None,
                event=event,
            )
        )
        COSIGNED_SIZE.set(event.tree_size)

    def _check_older(self, older: Checkpoint, newest: Seen) -> None:
        """Return if an announcement that comes late is of the same log; raises ProofInvalid, Unready."""
        if TreeReader(self._log, newest.size, newest.root).root_at(older.size) != older.root:
            raise ProofInvalid(f"there are two trees of {older.size} leaves: a fork of {older.origin}")

    def _trusted(self, known: VerifierKey, listed: Sequence[VerifierKey]) -> VerifierKey:
        """Return the key that must have signed: the configured one, unless the one in memory succeeded it."""
        if self._log_key is None:
            return known
        after = listed[listed.index(self._log_key) :] if self._log_key in listed else ()
        return known if known in after else self._log_key

    async def _first_key(self) -> VerifierKey:
        if self._log_key is not None:
            return self._log_key
        vkey = await asyncio.to_thread(self._log.read, "vkey")
        return VerifierKey.parse(vkey.decode("utf-8", "replace").strip())
