"""Publishing what witnesses cosigned, beside the log's own newest checkpoint, which never waits for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from grace_common.contract import envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.seal import SealedRecord
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import VerifierKey
from grace_common.transparency.policy import Policy

from grace_audit_log.ports import LogKeys, Publication

COSIGNED: Final = "checkpoint.cosigned"
POLICY: Final = "witness-policy"
WITNESSED: Final = "checkpoint.witnessed"
KEEP_S: Final = 30.0  # as long a checkpoint with the quorum stands while newer ones do not get it
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Demand:
    """What cosignatures are demanded: a policy as it is published, and as it is read."""

    content: bytes
    policy: Policy

    @classmethod
    def of(cls, content: bytes) -> "Demand":
        """Return the demand of a policy's bytes; raises Malformed."""
        return cls(content, Policy.parse(content))


class Shelf:
    """The place of the newest cosigned checkpoint, in files that whoever reads the log reads."""

    def __init__(self, publication: Publication, log: LogKeys) -> None:
        self._publication = publication
        self._log = log
        self._met_at: float | None = None

    def newest(self) -> bytes | None:
        """Return the published cosigned checkpoint; None when there is none of this log."""
        return self._read(COSIGNED)

    def witnessed(self) -> bytes | None:
        """Return the checkpoint that Grace's own witness cosigned last: nobody outside was shown a larger one."""
        notes = [note for note in (self._read(WITNESSED), self.newest()) if note is not None]
        return max(notes, key=self._size) if notes else None

    def keep(self, note: bytes) -> bytes:
        """Remember a checkpoint that Grace's own witness cosigned, before anybody outside is shown it.

        returns  the one to show: a larger one that was kept before, where an older one has come again
        """
        before = self._read(WITNESSED)
        if before is not None and self._size(before) > self._size(note):
            return before
        self._publication.write([(WITNESSED, note)])
        return note

    def put(self, note: bytes, demand: Demand, now_s: float) -> None:
        """Publish a checkpoint that the log signed, with its policy, where it is better than what is published.

        A newer one is better; but one that has the policy's quorum stands for a while when newer ones lack it.

        now_s   of a clock that never goes back
        raises  Refused when the log did not sign it
        """
        size, met = self._judged(note, demand.policy)
        shown = self.newest()
        shown_size, shown_met = self._judged(shown, demand.policy) if shown is not None else (-1, False)
        if met or self._met_at is None:
            self._met_at = now_s
        if size < shown_size:
            return
        if shown_met and not met and (size == shown_size or now_s - self._met_at < KEEP_S):
            return
        self._publication.write([(POLICY, demand.content), (COSIGNED, note)])

    def _read(self, file: str) -> bytes | None:
        try:
            note = self._publication.read(file)
            open_checkpoint(note, self._log.identity().keys)
        except (Unready, Refused):
            return None
        return note

    def _size(self, note: bytes) -> int:
        return open_checkpoint(note, self._log.identity().keys).checkpoint.size

    def _judged(self, note: bytes, policy: Policy) -> tuple[int, bool]:
        """Return the size of a checkpoint, and whether its cosignatures satisfy the policy; raises Refused."""
        size = self._size(note)
        try:
            policy.open(note, self._log.identity().keys)
        except Refused:
            return size, False
        return size, True


class Asking(Protocol):
    """Whoever shows checkpoints to outside witnesses before they are published."""

    def offer(self, note: bytes) -> None:
        """Take the newest checkpoint that Grace's own witness cosigned."""
        ...


class Cosigned:
    """Handler of the stream of cosignatures: the newest is published once both signatures are verified.

    demand  None: the one of the witness that is heard
    asking  None: no outside witness is asked
    """

    def __init__(self, shelf: Shelf, log: LogKeys, demand: Demand | None = None, asking: Asking | None = None) -> None:
        self._shelf = shelf
        self._log = log
        self._demand = demand
        self._asking = asking

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Take the newest cosigned checkpoint of these records; one that does not verify is passed over."""
        for record in reversed(records):
            try:
                event = envelope.open(record.value).event
                if isinstance(event, CheckpointCosigned):
                    await self._take(event.checkpoint.encode(), VerifierKey.parse(event.witness))
                    return
            except Refused as error:
                _log.warning("cosignature_refused", offset=record.offset, why=str(error))

    async def _take(self, note: bytes, own: VerifierKey) -> None:
        keys = self._log.identity().keys
        open_checkpoint(note, keys, [own], quorum=1)
        if self._asking is not None:
            self._asking.offer(await asyncio.to_thread(self._shelf.keep, note))
            return
        logs = "".join(f"log {key}\n" for key in keys)
        demand = self._demand or Demand.of(f"{logs}witness grace {own}\nquorum grace\n".encode())
        await asyncio.to_thread(self._shelf.put, note, demand, asyncio.get_running_loop().time())
