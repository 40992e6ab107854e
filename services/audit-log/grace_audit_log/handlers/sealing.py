"""Hearing `grace.signature.v1`: drop copies, grow the tree, commit."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from grace_common.contract.errors import Refused, Unready
from grace_common.runtime.seal import SealedRecord
from grace_common.runtime.stream import Displaced
from grace_common.transparency.statement import KEY_DIRECTORY_PUBLISHED

from grace_audit_log.domain.entry import Entry, first_copies, read_entries
from grace_audit_log.domain.tree import Head, grow
from grace_audit_log.handlers.recent import RecentEntries
from grace_audit_log.ports import LedgerReader, LedgerWriter, LogKeys, Position

_STAND_BY_S: Final = 0.5
_log = structlog.get_logger(__name__)


class Sealing:
    """Handler of the stream of signatures: drops copies, grows the tree, commits."""

    def __init__(self, writer: LedgerWriter, reader: LedgerReader, log: LogKeys, recent: RecentEntries) -> None:
        self._writer = writer
        self._reader = reader
        self._log = log
        self._recent = recent
        self._head: Head | None = None
        self._taking_over = asyncio.Lock()
        self._displaced = False  # another instance wrote after this one had been told where to begin
        self.committed = asyncio.Event()
        self.directories: list[bytes] = []  # signed versions of the key directory that were committed just now
        self.copies: set[int] = set()  # indices of entries that came again: whoever sent them has not heard of them

    @property
    def writes(self) -> bool:
        """Whether this instance is the ledger's writer."""
        return self._head is not None

    async def start_at(self, topic: str, partition: int) -> int | None:
        """Begin, once this instance is the writer, after the last record that the ledger contains.

        An empty ledger begins where the group left off.
        """
        await self.lead()
        self._displaced = False
        offset = await self._reader.position(partition)
        return None if offset is None else offset + 1

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Return when every entry of these records is committed; raises Displaced when another instance wrote."""
        entries = first_copies(_readable(records))
        while True:
            head = await self.lead()
            if self._displaced:
                raise Displaced("another audit-log has written; this one goes on after its last record")
            try:
                await self._seal(head, entries, Position(records[-1].partition, records[-1].offset))
                return
            except Unready as error:
                _log.warning("ledger_lost", why=str(error))
                await self._step_down()
            except BaseException:
                # Committed or not, nobody knows: read the head again, and the copies are recognised.
                await self._step_down()
                raise

    async def lead(self) -> Head:
        """Return the tree's head as its writer; stands by while another instance writes."""
        async with self._taking_over:
            told = False
            while self._head is None:
                try:
                    self._head = await self._writer.take_over()
                    _log.info("ledger_taken_over", size=self._head.edge.size)
                    self.committed.set()
                except Unready as error:
                    if not told:
                        _log.info("standing_by", why=str(error))
                        told = self._displaced = True
                    await asyncio.sleep(_STAND_BY_S)
            return self._head

    async def _seal(self, head: Head, entries: Sequence[Entry], position: Position) -> None:
        known = await self._writer.known([entry.entry_id for entry in entries])
        new = [entry for entry in entries if entry.entry_id not in known]
        self.copies.update(known.values())
        if new:
            named = (entry.payload for entry in new if entry.entry_type == KEY_DIRECTORY_PUBLISHED)
            directories = [payload for payload in named if payload is not None]
            growth = grow(head, [entry.leaf for entry in new], self._log.follow(directories))
            await self._writer.append(growth, new, position)
            self._head = growth.after
            self.directories += directories
            self._recent.add(head.edge.size, new)
        self.committed.set()

    async def _step_down(self) -> None:
        self._head = None
        await self._writer.release()


def _readable(records: Sequence[SealedRecord]) -> list[Entry]:
    """Return all that are entries. What is not is the crypto-signer's bug, which alone can write this topic."""
    entries: list[Entry] = []
    for record in records:
        try:
            read = read_entries(record.value)
        except Refused as error:
            read = [error]
        for entry in read:
            if isinstance(entry, Refused):
                _log.error("no_entry", offset=record.offset, why=str(entry))  # no reason to stop the ledger
            else:
                entries.append(entry)
    return entries
