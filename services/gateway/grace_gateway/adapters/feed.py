"""New facts of the read model as they come: PostgreSQL notifies, one reader per process fetches, all listeners hear.

Any instance of the gateway may write the read model; each hears of it through the database.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from grace_common.runtime.database import Database
from grace_common.runtime.outage import describe_outage, is_outage

from grace_gateway.adapters.view_writer import NOTIFY_CHANNEL
from grace_gateway.ports import Positioned, Views

_BATCH: Final = 500
_POLL_S: Final = 5.0  # a notification lost in an outage delays a reader by this much at most
_log = structlog.get_logger(__name__)


class PostgresFeed:
    """Implements Feed.

    buffer  facts a subscriber may lag behind before its subscription ends
    """

    def __init__(self, database: Database, views: Views, *, buffer: int) -> None:
        self._database = database
        self._views = views
        self._buffer = buffer
        self._subscribers: set[asyncio.Queue[Sequence[Positioned] | None]] = set()
        self._watched: dict[UUID, set[asyncio.Event]] = {}
        self._notified = asyncio.Event()

    async def run(self) -> None:
        """Follow the read model until cancelled; an outage of the database is waited out."""
        position: int | None = None
        while True:
            try:
                async with self._listening() as connection:
                    if position is None:
                        position = await self._views.last_position()
                    while not connection.is_closed():
                        position = await self._hand_out(position)
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("feed_waits", missing=describe_outage(error))
                await asyncio.sleep(0.5)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Sequence[Positioned]]]:
        queue: asyncio.Queue[Sequence[Positioned] | None] = asyncio.Queue(self._buffer)
        self._subscribers.add(queue)
        try:
            yield self._batches(queue)
        finally:
            self._subscribers.discard(queue)

    @contextmanager
    def watch(self, submission_id: UUID) -> Iterator[asyncio.Event]:
        heard = asyncio.Event()
        listeners = self._watched.setdefault(submission_id, set())
        listeners.add(heard)
        try:
            yield heard
        finally:
            listeners.discard(heard)
            if not listeners:
                self._watched.pop(submission_id, None)

    async def _hand_out(self, position: int) -> int:
        """Hand out what is new behind `position`, or wait for a notification; return the new position."""
        self._notified.clear()
        if not self._subscribers and not self._watched:
            newest = await self._views.last_position()
            # Somebody may have begun to listen meanwhile: then nothing is skipped, and the next turn reads it all.
            skipped = newest if not self._subscribers and not self._watched else position
            if skipped == newest:
                await self._until_notified()
            return skipped
        facts = await self._views.facts_after(position, _BATCH)
        if not facts:
            await self._until_notified()
            return position
        for queue in list(self._subscribers):
            if queue.qsize() + 1 >= queue.maxsize:
                self._subscribers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(facts)
        for fact in facts:
            for heard in self._watched.get(fact.submission_id, ()) if fact.submission_id else ():
                heard.set()
        return facts[-1].position

    async def _until_notified(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await self._notified.wait()

    @staticmethod
    async def _batches(queue: "asyncio.Queue[Sequence[Positioned] | None]") -> AsyncIterator[Sequence[Positioned]]:
        while (batch := await queue.get()) is not None:
            yield batch

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.add_listener(NOTIFY_CHANNEL, lambda *_: self._notified.set())
            connection.add_termination_listener(lambda _: self._notified.set())
            yield connection
        finally:
            await connection.close(timeout=2)
