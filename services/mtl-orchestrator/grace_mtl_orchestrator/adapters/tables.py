"""The orchestrator's tables; created by `migrations/`."""

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

metadata = MetaData()

# JSON is kept as text: it comes back byte for byte, and may hold the escaped NUL that a program printed.
task = Table(
    "task",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Index("task_phase", "phase"),
)

history = Table(
    "history",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("cause_type", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("facts", Text, nullable=False),
)

timer = Table(
    "timer",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Index("timer_due", "due_at"),
)

outcome = Table(
    "outcome",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("requirements", Text, nullable=False),
    Column("lesson", Text, nullable=False),
    Column("generator", Text),
    Column("confidence", Float),
    Column("rounds", Integer, nullable=False),
    Column("learned_at", DateTime(timezone=True), nullable=False),
    Column("words", TSVECTOR, Computed("to_tsvector('english', requirements)", persisted=True), nullable=False),
    Index("outcome_words", "words", postgresql_using="gin"),
    Index(
        "outcome_trigrams",
        "requirements",
        postgresql_using="gin",
        postgresql_ops={"requirements": "gin_trgm_ops"},
    ),
)

policy_set = Table(
    "policy_set",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("policies", Text, nullable=False),
    Column("published_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
