"""Outbox rows go when the ledger holds what they state."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from grace_cli.testing.deployment import stated
from grace_common.contract.envelope import encode
from grace_common.contract.events.ledger import EntriesSealed, SealedEntry
from grace_common.contract.events.operation import OperationStarted, RecordRefused
from grace_common.runtime.outbox import Coverage, Outbox
from grace_common.runtime.seal import SealedRecord, Signer
from grace_common.runtime.tables import outbox
from sqlalchemy import select


@pytest.mark.parametrize(
    ("event", "sealed_for", "kept"),
    [
        (OperationStarted, "gateway", False),
        (OperationStarted, "consensus", True),
        # Several services refuse one record and state it once: the entry names the first of them.
        (RecordRefused, "consensus", False),
    ],
    ids=["its own", "another service's", "a refusal that another service stated first"],
)
async def test_a_row_goes_when_its_entry_is_sealed(event: Any, sealed_for: str, kept: bool, deployment: Any) -> None:
    database = deployment.database("gateway")
    envelope = stated(event.example())
    await Outbox(database).state([envelope])
    entry = SealedEntry(
        index=7,
        entry_id=envelope.id,
        entry_type=envelope.type,
        operation_id=uuid4(),
        correlation="task",
        actor="ada",
        service=sealed_for,
        time=datetime.now(UTC),
    )
    value = encode(stated(EntriesSealed(entries=(entry,), tree_size=8), "/grace/audit-log"))
    signer = Signer("service/audit-log", "3f2a")

    await Coverage(database, "gateway").handle(
        [SealedRecord("grace.ledger.v1", 0, 0, b"log", value, datetime.now(UTC), signer)]
    )

    async with database.reading() as connection:
        rows = (await connection.execute(select(outbox.c.event_id).where(outbox.c.event_id == envelope.id))).all()
    await database.close()
    assert bool(rows) is kept
