"""What the witness cosigned: of each log the newest tree."""

from alembic import op

revision = "crypto_signer_0003"
down_revision = "crypto_signer_0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE witnessed (
        origin      text PRIMARY KEY,
        log_key     text NOT NULL,
        size        bigint NOT NULL CHECK (size >= 0),
        root        bytea NOT NULL CHECK (octet_length(root) = 32),
        note        bytea NOT NULL,
        cosigned_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "COMMENT ON TABLE witnessed IS 'The newest checkpoint of each log that was cosigned; whatever does not continue it "
    "never is. log_key is the vkey that is trusted now.'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE witnessed")
