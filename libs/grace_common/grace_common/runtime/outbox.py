"""Events not yet produced, kept in the handler's transaction, and the relay that produces them.

A row stays after it was sent until a signed checkpoint covers it (the service hears `grace.ledger.v1`); a row that was
sent but is not covered in time is sent again. So a broker that lost its data is refilled from here. Rows of topics that
are not notarised can be derived again and go when the broker has acknowledged them. Which rows wait to be sent stands
in a table beside: so a row of a kilobyte is written once and deleted once, and never changed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from grace_common.contract.envelope import Envelope, encode
from grace_common.contract.events.operation import RecordRefused
from grace_common.contract.topics import TOPICS
from grace_common.runtime import failpoint, telemetry
from grace_common.runtime.database import Database, after_commit, current
from grace_common.runtime.outage import describe_outage, is_outage
from grace_common.runtime.producer import SealedProducer
from grace_common.runtime.seal import Outgoing, SealedRecord
from grace_common.runtime.tables import unsent

BATCH: Final = 512
_SOONEST_S, _RAREST_S = 0.02, 0.5
_LONGEST_PAUSE: Final = 64  # times the setting: half an hour where that is 30 s
_NOTARIZED: Final = {topic.name for topic in TOPICS if topic.notarized}
_MOST_COUNTED: Final = 1_000_000
# For who adds facts by a statement of its own: `unnest` of the parameters that `fact_columns` returns, the names of the
# columns that it makes, and what adds the rows of a relation `fact` with these columns and `place`, the facts' order;
# it goes behind WITH.
UNNESTED: Final = (
    "CAST(:event_ids AS uuid[]), CAST(:topics AS text[]), CAST(:keys AS bytea[]), CAST(:values AS bytea[])"
)
COLUMNS: Final = "event_id, topic, key, value"


def _stated(relation: str) -> str:
    return (
        f"stated AS (INSERT INTO outbox ({COLUMNS}) SELECT {COLUMNS} FROM {relation} ORDER BY place "
        "ON CONFLICT (event_id) DO NOTHING RETURNING position)"
    )


_WAITING: Final = "INSERT INTO outbox_unsent SELECT position FROM stated"
STATED: Final = f"{_stated('fact')}, waiting AS ({_WAITING})"
_ADD: Final = text(f"WITH {_stated(f'unnest({UNNESTED}) WITH ORDINALITY AS fact ({COLUMNS}, place)')} {_WAITING}")
_NEXT: Final = text(
    "SELECT position, topic, key, value FROM outbox "
    f"WHERE position = ANY(ARRAY(SELECT position FROM outbox_unsent ORDER BY position LIMIT {BATCH})) ORDER BY position"
)
# Both tables grow and empty within a second. A plan made while they are empty would scan them, and go through an array
# for every row, long after they have grown: eight times the cost of all else here.
_BY_INDEX: Final = text("SET LOCAL enable_seqscan = off")
_SENT: Final = text("DELETE FROM outbox_unsent WHERE position = ANY(:positions)")
_DERIVABLE: Final = text("DELETE FROM outbox WHERE position = ANY(:positions)")
_ALL_SENT_UP_TO: Final = text(
    "SELECT coalesce((SELECT min(position) - 1 FROM outbox_unsent), (SELECT max(position) FROM outbox), 0)"
)
# Locked, so that no row is let go meanwhile: its position would wait for ever.
_AGAIN: Final = text(
    "INSERT INTO outbox_unsent SELECT position FROM outbox WHERE position <= :last FOR KEY SHARE ON CONFLICT DO NOTHING"
)
_COVERED: Final = text("DELETE FROM outbox WHERE event_id = ANY(:ids) RETURNING position")
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def _by_index(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.transaction() as connection:
        await connection.execute(_BY_INDEX)
        yield connection


def fact_columns(envelopes: Sequence[Envelope]) -> dict[str, list[Any]]:
    """Return the parameters of `UNNESTED`."""
    return {
        "event_ids": [envelope.id for envelope in envelopes],
        "topics": [envelope.event.TOPIC.name for envelope in envelopes],
        "keys": [envelope.key for envelope in envelopes],
        "values": [encode(envelope) for envelope in envelopes],
    }


class Outbox:
    """Where a service states facts: rows in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.wake = asyncio.Event()

    async def add(self, envelopes: Sequence[Envelope]) -> None:
        """Add facts to the open transaction. A fact whose id is there already is not added again: the first wins."""
        if not envelopes:
            return
        await current().execute(_ADD, fact_columns(envelopes))
        after_commit(self.wake.set)

    async def state(self, envelopes: Sequence[Envelope]) -> None:
        """Add facts in the open transaction, or in one of their own."""
        async with self._database.transaction():
            await self.add(envelopes)

    async def backlog(self) -> int:
        """Return how many facts wait to be sent; a million stands for more."""
        waiting = select(unsent.c.position).limit(_MOST_COUNTED).subquery()
        async with self._database.reading() as connection:
            return int(await connection.scalar(select(func.count()).select_from(waiting)) or 0)


class Relay:
    """Sends the outbox's rows in their order and removes those that a checkpoint covers."""

    def __init__(self, database: Database, rows: Outbox, producer: SealedProducer, *, resend_s: float) -> None:
        self._database = database
        self._outbox = rows
        self._producer = producer
        self._resend_s = resend_s
        self._looks: deque[tuple[float, int]] = deque()  # when, and up to which position all had been sent
        self.healthy = False

    async def run(self) -> None:
        """Relay until cancelled; an outage of broker or database is waited out."""
        pause_s, idle_s = 0.2, _SOONEST_S
        while True:
            try:
                sent = await self.relay_once()
                self.healthy = True
                pause_s = 0.2
                # This process wakes its relay; rows of another one are looked for, more rarely the longer none came.
                idle_s = _SOONEST_S if sent else min(idle_s * 2, _RAREST_S)
                if sent < BATCH:
                    await self._until_woken(idle_s)
            except Exception as error:
                if not is_outage(error):
                    raise
                self.healthy = False
                _log.warning("relay_waits", missing=describe_outage(error), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 5.0)

    async def relay_once(self) -> int:
        """Send what waits, at most one batch; return how many were sent.

        Rows are marked only after the broker has acknowledged them: a crash in between sends them again, with the same
        ids, and the copies are dropped downstream.
        """
        async with _by_index(self._database) as connection:
            waiting = (await connection.execute(_NEXT)).all()
        if waiting:
            failpoint.reached("relay", "read")
            await self._producer.send([_outgoing(row) for row in waiting])
            failpoint.reached("relay", "sent")
            telemetry.PRODUCED.inc(len(waiting))
            await self._mark(waiting)
            failpoint.reached("relay", "marked")
        return len(waiting)

    async def resend_uncovered(self, now_s: float) -> int:
        """Look once; what had been sent already when this relay looked `resend_s` ago, and is here yet, waits again.

        now_s    of a clock that only goes forward
        returns  how many rows
        """
        while len(self._looks) > 1 and self._looks[1][0] <= now_s - self._resend_s:
            self._looks.popleft()
        due = [last for at, last in self._looks if at <= now_s - self._resend_s]
        async with self._database.transaction() as connection:
            again = (await connection.execute(_AGAIN, {"last": due[0]})).rowcount if due else 0
            if again:
                self._looks.clear()  # what earlier looks saw as sent is not, any more
            self._looks.append((now_s, int(await connection.scalar(_ALL_SENT_UP_TO) or 0)))
        if again:
            _log.warning("outbox_resends", rows=again, why="sent, but no checkpoint covers them")
            self._outbox.wake.set()
        return again

    async def watch_coverage(self) -> None:
        """Every now and then, look for rows to send again; runs until cancelled."""
        pause_s, clock = 0.0, asyncio.get_running_loop()
        while True:
            try:
                resent = await self.resend_uncovered(clock.time()) > 0
                pause_s = next_look(self._resend_s, pause_s, resent=resent)
            except Exception as error:
                if not is_outage(error):
                    raise
                _log.warning("relay_waits", missing=describe_outage(error))
            await asyncio.sleep(pause_s or self._resend_s / 2)

    async def _mark(self, rows: Sequence[Row[Any]]) -> None:
        async with _by_index(self._database) as connection:
            await connection.execute(_SENT, {"positions": [row.position for row in rows]})
            derivable = [row.position for row in rows if row.topic not in _NOTARIZED]
            if derivable:
                await connection.execute(_DERIVABLE, {"positions": derivable})

    async def _until_woken(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._outbox.wake.wait()
        except TimeoutError:
            return
        self._outbox.wake.clear()


def next_look(resend_s: float, pause_s: float, *, resent: bool) -> float:
    """Return the seconds until the next look for rows to send again; `pause_s` were those before this one.

    What was sent again, and is not covered even then, is not lost: the ledger is behind. Each copy costs it as much as
    the first, so the pauses double, or the copies alone would keep it behind for ever.
    """
    if not resent:
        return resend_s / 2
    return min(max(pause_s, resend_s) * 2, resend_s * _LONGEST_PAUSE)


def _outgoing(row: Row[Any]) -> Outgoing:
    return Outgoing(topic=row.topic, key=row.key, value=row.value)


class Coverage:
    """Hears which events a signed checkpoint covers and lets their outbox rows go; a handler of a RecordStream."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._service = service
        # Every service hears of every entry there is. A record whose bytes do not say this, as all JSON of Grace's says
        # it, has no entry to be looked for.
        self._telling = (_member("service", service), _member("entry_type", RecordRefused.TYPE))

    async def start_at(self, topic: str, partition: int) -> int | None:
        return None

    async def handle(self, records: Sequence[SealedRecord]) -> None:
        """Delete the rows of this service's events that stand in the ledger.

        Services that refuse one record state one refusal, under one id: the entry names whoever came first.
        """
        covered = [
            UUID(entry["entry_id"])
            for record in records
            if any(telling in record.value for telling in self._telling)
            for entry in orjson.loads(record.value)["data"].get("entries", ())
            if entry["service"] == self._service or entry["entry_type"] == RecordRefused.TYPE
        ]
        if covered:
            async with _by_index(self._database) as connection:
                gone = (await connection.execute(_COVERED, {"ids": covered})).scalars().all()
                # A statement of its own: it sees what was to be sent again while the one before waited.
                await connection.execute(_SENT, {"positions": gone})


def _member(name: str, value: str) -> bytes:
    return orjson.dumps({name: value})[1:-1]
