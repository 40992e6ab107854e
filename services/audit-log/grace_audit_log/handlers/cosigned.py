"""Publishing what the witness cosigned, beside the log's own newest checkpoint, which never waits for it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from grace_common.contract import envelope
from grace_common.contract.errors import Refused, Unready
from grace_common.contract.events.witness import CheckpointCosigned
from grace_common.runtime.seal import SealedRecord
from grace_common.transparency.checkpoint import open_checkpoint
from grace_common.transparency.note import VerifierKey

from grace_audit_log.ports import Publication

COSIGNED: Final = "checkpoint.cosigned"
POLICY: Final = "witness-policy"
_log = structlog.get_logger(__name__)


class Cosigned:
    """Handler of the stream of cosignatures: the newest is published, once both signatures are verified."""

    def __init__(self, publication: Publication, log_key: VerifierKey) -> None:
        self._publication = publication
        self._log_key = log_key

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin where the group left off."""
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Publish the newest cosigned checkpoint of these records; one that does not verify is passed over."""
        for record in reversed(records):
            try:
                event = envelope.open(record.value).event
                if isinstance(event, CheckpointCosigned):
                    await asyncio.to_thread(self._publish, event)
                    return
            except Refused as error:
                _log.warning("cosignature_refused", offset=record.offset, why=str(error))

    def _publish(self, event: CheckpointCosigned) -> None:
        note, witness = event.checkpoint.encode(), VerifierKey.parse(event.witness)
        size = open_checkpoint(note, self._log_key, [witness], quorum=1).checkpoint.size
        try:
            shown = open_checkpoint(self._publication.read(COSIGNED), self._log_key).checkpoint.size
        except (Unready, Refused):
            shown = -1  # nothing, or nothing of this log
        if size >= shown:
            policy = f"log {self._log_key}\nwitness grace {witness}\nquorum grace\n".encode()
            self._publication.write([(POLICY, policy), (COSIGNED, note)])
