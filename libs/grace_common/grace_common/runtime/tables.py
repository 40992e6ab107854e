"""The runtime's own tables, in every service's schema; created by `migrations/`."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, LargeBinary, MetaData, Table, Text, Uuid, text

metadata = MetaData()

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("handled_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

outbox = Table(
    "outbox",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("topic", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("stated_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

# The outbox's rows that wait to be sent. A mark in the outbox itself would write the whole of its row anew.
unsent = Table("outbox_unsent", metadata, Column("position", BigInteger, primary_key=True))
