"""Inbox and outbox."""

from alembic import op
from grace_common.runtime.tables import metadata

revision = "runtime_0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
