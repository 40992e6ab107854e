"""Inbox and outbox."""

from alembic import op
from grace_common.runtime.tables import inbox, outbox
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

revision = "runtime_0001"
down_revision = None


def upgrade() -> None:
    for table in (inbox, outbox):
        op.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            op.execute(CreateIndex(index))


def downgrade() -> None:
    for table in (outbox, inbox):
        op.execute(DropTable(table))
