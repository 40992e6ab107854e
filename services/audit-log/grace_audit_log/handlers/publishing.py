"""Following the committed tree: write its static files, then tell the others."""

import asyncio
from typing import Final

import structlog
from grace_common.contract.errors import Unready
from grace_common.runtime import failpoint
from grace_common.runtime.outage import describe_outage, is_outage

from grace_audit_log.domain.announcement import Voice
from grace_audit_log.handlers.directories import publish_directories, publish_every_directory, write_directories
from grace_audit_log.handlers.files import Published, publish, publish_authority, published
from grace_audit_log.handlers.sealing import Sealing
from grace_audit_log.ports import Announcer, Committed, Entries, LedgerReader, LogKeys, Publication

_ANNOUNCE_AT_ONCE: Final = 2_000  # entries read into memory for one announcement
_log = structlog.get_logger(__name__)


class Publishing:
    """Publishes the newest committed checkpoint, and announces what it covers once the files are there."""

    def __init__(
        self,
        sealing: Sealing,
        reader: LedgerReader,
        entries: Entries,
        publication: Publication,
        announcer: Announcer,
        log: LogKeys,
        *,
        look_every_s: float,
    ) -> None:
        self._sealing = sealing
        self._reader = reader
        self._entries = entries
        self._publication = publication
        self._announcer = announcer
        self._voice = Voice(log.identity().key.name)
        self._log = log
        self._look_every_s = look_every_s
        self._published: Published | None = None
        self._announced: int | None = None
        self._named: tuple[bytes, ...] = ()  # CA keys that were published
        self._missing: str | None = "the published log has not been compared with the database yet"

    async def check(self) -> None:
        """Raise Unready while the published log is behind for a reason, or another instance writes."""
        if not self._sealing.writes:
            raise Unready("standing by: another instance writes the ledger, or the database does not answer")
        if self._missing is not None:
            raise Unready(self._missing)

    async def run(self) -> None:
        """Publish until cancelled; an outage is waited out."""
        pause_s = 0.2
        while True:
            try:
                await self._sealing.lead()
                await self._until_committed()
                await self.publish_newest()
                self._missing, pause_s = None, 0.2
            except Exception as error:
                if not (is_outage(error) or isinstance(error, Unready)):
                    raise
                self._missing = str(error) if isinstance(error, Unready) else describe_outage(error)
                _log.warning("publication_waits", missing=self._missing, retry_in_s=pause_s)
                self._published = self._announced = None
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    async def publish_newest(self) -> None:
        """Bring the files, then the announcements, up to the newest committed checkpoint."""
        newest = await self._reader.newest()
        if newest is None:
            return
        if self._published is None:
            log = self._log.identity()
            self._published = await asyncio.to_thread(published, self._publication, (*log.keys, *log.ended))
            self._named = ()
            if not self._published.complete:
                await publish_every_directory(self._reader, self._publication, newest.size)
        if self._named != (named := self._log.identity().ca_keys()):  # before a checkpoint that names them
            await asyncio.to_thread(publish_authority, self._publication, named)
            self._named = named
        if self._sealing.directories:  # before the entries that name them
            directories, self._sealing.directories = self._sealing.directories, []
            await asyncio.to_thread(write_directories, self._publication, directories)
        self._published = await publish(
            self._entries, self._publication, self._log.identity().keys, self._published, newest
        )
        await self._announce(newest)
        self._log.settle()

    async def _announce(self, newest: Committed) -> None:
        if self._announced is None:
            self._announced = await self._reader.announced()
        copies, self._sealing.copies = self._sealing.copies, set()
        again = await self._reader.places_of(sorted(copies)) if copies else []
        await publish_directories(self._reader, self._publication, again)
        values = self._voice.entries_sealed(again, newest.size, newest.committed_at)
        start = self._announced
        while start < newest.size:
            end = min(start + _ANNOUNCE_AT_ONCE, newest.size)
            places = await self._entries.places(start, end)
            await publish_directories(self._reader, self._publication, places)
            values += self._voice.entries_sealed(places, newest.size, newest.committed_at)
            await self._announcer.announce(values)
            values, start = [], end
        if self._announced < newest.size:
            values.append(self._voice.checkpoint_published(newest.size, newest.root, newest.note, newest.committed_at))
        if values:
            await self._announcer.announce(values)
        if self._announced < newest.size:
            failpoint.reached("publication", "announced")
            await self._reader.mark_announced(newest.size, newest.committed_at)
            self._announced = newest.size

    async def _until_committed(self) -> None:
        try:
            async with asyncio.timeout(self._look_every_s):
                await self._sealing.committed.wait()
        except TimeoutError:
            return
        self._sealing.committed.clear()
