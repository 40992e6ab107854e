"""What waits to be sent stands beside the outbox, whose rows are never written again."""

from alembic import op

revision = "runtime_0002"
down_revision = "runtime_0001"


def upgrade() -> None:
    op.execute("DROP INDEX outbox_unsent")
    op.execute("DROP INDEX outbox_sent")
    op.execute("CREATE TABLE outbox_unsent (position bigint PRIMARY KEY)")
    op.execute("INSERT INTO outbox_unsent SELECT position FROM outbox WHERE sent_at IS NULL")
    op.execute("ALTER TABLE outbox DROP COLUMN sent_at")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox ADD COLUMN sent_at timestamptz")
    op.execute("UPDATE outbox SET sent_at = now() WHERE position NOT IN (SELECT position FROM outbox_unsent)")
    op.execute("DROP TABLE outbox_unsent")
    op.execute("CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL")
    op.execute("CREATE INDEX outbox_unsent ON outbox (position) WHERE sent_at IS NULL")
