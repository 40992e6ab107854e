"""How many operations have keys of an epoch, so that the next one can begin by count."""

from alembic import op

revision = "crypto_signer_0002"
down_revision = "crypto_signer_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE epoch ADD COLUMN operations bigint NOT NULL DEFAULT 0 CHECK (operations >= 0)")


def downgrade() -> None:
    op.execute("ALTER TABLE epoch DROP COLUMN operations")
