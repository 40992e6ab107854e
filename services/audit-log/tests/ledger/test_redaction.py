"""A payload goes when an entry of the ledger says so, and in no other way."""

from dataclasses import replace
from uuid import UUID

import asyncpg
import orjson
import pytest
from grace_audit_log.adapters.ledger_store import PostgresLedgerWriter, connect
from grace_audit_log.domain.entry import Entry
from grace_audit_log.domain.redaction import Redaction, redactions
from grace_audit_log.domain.tree import Head, grow
from grace_audit_log.ports import Position
from grace_cli.testing.stack import Postgres
from grace_common.contract.events.signature import KeyDirectoryPublished
from grace_common.contract.events.task import RedactionRequested
from grace_common.testing.clock import FixedClock

from .fakes import LOG, entry


def asking(number: int, target: int, **changes: object) -> Entry:
    """Return an entry that asks for the redaction of another one, or says something else in its place."""
    data = {"index": target, "entry_id": str(entry(target).entry_id), "reason": "a name", "by": "olga"} | changes
    payload = orjson.dumps({"type": RedactionRequested.TYPE, "data": data})
    return replace(entry(number), entry_type=RedactionRequested.TYPE, payload=payload)


def test_what_an_entry_asks_for_is_read_from_its_payload() -> None:
    assert redactions([entry(5), asking(6, 2)], 5) == [Redaction(2, entry(2).entry_id, 6)]


@pytest.mark.parametrize(
    "other",
    [
        replace(asking(6, 2), service="code-gen"),
        replace(asking(6, 2), payload=None),
        replace(asking(6, 2), payload=b"no JSON"),
        replace(asking(6, 2), payload=b"[]"),
        asking(6, 6),
        asking(6, 2, index=-1),
        asking(6, 2, index="2"),
        asking(6, 2, index=2.0),
        asking(6, 2, entry_id="nobody"),
    ],
)
def test_what_is_no_demand_of_the_gateway_for_an_earlier_entry_asks_for_nothing(other: Entry) -> None:
    assert redactions([other], 6) == []


async def seal(store: PostgresLedgerWriter, head: Head, *entries: Entry) -> Head:
    growth = grow(head, [one.leaf for one in entries], LOG)
    await store.append(growth, entries, Position(0, head.edge.size))
    return growth.after


async def rows(url: str, query: str) -> list[tuple[int, ...]]:
    connection = await connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_the_payload_goes_in_the_transaction_that_seals_the_demand_and_the_leaf_stays(database_url: str) -> None:
    store = PostgresLedgerWriter(database_url, LOG, FixedClock())
    head = await seal(store, await store.take_over(), *(entry(number) for number in range(3)))

    await seal(store, head, entry(3), asking(4, 1), entry(5))

    assert await rows(database_url, "SELECT index FROM payload ORDER BY 1") == [(0,), (2,), (3,), (4,), (5,)]
    assert await rows(database_url, "SELECT index, entry FROM redaction") == [(1, 4)]
    assert await rows(database_url, "SELECT count(*) FROM entry") == [(6,)]
    await store.release()


async def test_a_demand_that_finds_nothing_is_sealed_and_has_no_effect(database_url: str) -> None:
    store = PostgresLedgerWriter(database_url, LOG, FixedClock())
    head = await seal(store, await store.take_over(), entry(0), replace(entry(1), payload=None), entry(2))
    head = await seal(store, head, asking(3, 0), asking(4, 0))  # the second of two
    head = await seal(store, head, replace(entry(5), entry_type=KeyDirectoryPublished.TYPE))

    await seal(
        store,
        head,
        asking(6, 3),  # a redaction stays
        asking(7, 5),  # and so does the key directory
        asking(8, 1),  # no payload
        asking(9, 2, entry_id=str(UUID(int=999))),  # another entry stands there
    )

    assert await rows(database_url, "SELECT index, entry FROM redaction") == [(0, 3)]
    assert await rows(database_url, "SELECT count(*) FROM payload") == [(8,)]
    await store.release()


async def test_a_demand_that_the_database_reads_otherwise_does_not_stop_the_ledger(database_url: str) -> None:
    store = PostgresLedgerWriter(database_url, LOG, FixedClock())
    head = await seal(store, await store.take_over(), entry(0))
    upper = replace(entry(1), entry_id=UUID("ABCDEF00-0000-0000-0000-000000000000"))
    head = await seal(store, head, upper)

    await seal(store, head, asking(2, 1, entry_id="ABCDEF00-0000-0000-0000-000000000000"))

    assert await rows(database_url, "SELECT count(*) FROM redaction") == [(0,)]
    assert await rows(database_url, "SELECT count(*) FROM payload") == [(3,)]
    await store.release()


async def test_nobody_deletes_or_changes_a_payload_otherwise(database_url: str, postgres: Postgres) -> None:
    store = PostgresLedgerWriter(database_url, LOG, FixedClock())
    await seal(store, await store.take_over(), entry(0), entry(1), asking(2, 0))
    await store.release()
    own = await connect(database_url)
    admin = await asyncpg.connect(postgres.url())
    await admin.execute(f"SET search_path = {await own.fetchval('SELECT current_schema()')}")
    for connection in (own, admin):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="payload of entry 1 stays"):
            await connection.execute("DELETE FROM payload WHERE index = 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE payload SET content = '' WHERE index = 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("TRUNCATE payload")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="entry 2 does not ask for the redaction of"):
            await connection.execute("INSERT INTO redaction VALUES (1, 2)")
    await own.close()
    await admin.close()
