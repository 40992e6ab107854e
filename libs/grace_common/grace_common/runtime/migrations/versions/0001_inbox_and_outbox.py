"""Inbox and outbox."""

from alembic import op

revision = "runtime_0001"
down_revision = None

_TABLES = (
    """
    CREATE TABLE inbox (
        consumer   text NOT NULL,
        event_id   uuid NOT NULL,
        handled_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer, event_id)
    )
    """,
    """
    CREATE TABLE outbox (
        position  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id  uuid NOT NULL UNIQUE,
        topic     text NOT NULL,
        key       bytea NOT NULL,
        value     bytea NOT NULL,
        stated_at timestamptz NOT NULL DEFAULT now(),
        sent_at   timestamptz
    )
    """,
    "CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL",
    "CREATE INDEX outbox_unsent ON outbox (position) WHERE sent_at IS NULL",
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)


def downgrade() -> None:
    for table in ("outbox", "inbox"):
        op.execute(f"DROP TABLE {table}")
