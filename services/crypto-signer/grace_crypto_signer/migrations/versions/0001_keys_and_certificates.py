"""Epoch seeds, sealed under the key-encryption key, and the certificates that the CA issued."""

from alembic import op

revision = "crypto_signer_0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE epoch (
        number     integer PRIMARY KEY CHECK (number >= 1),
        not_before timestamptz NOT NULL UNIQUE,
        kek_id     text NOT NULL,
        nonce      bytea NOT NULL CHECK (octet_length(nonce) = 12),
        sealed     bytea NOT NULL CHECK (octet_length(sealed) = 48),
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "COMMENT ON TABLE epoch IS 'Seeds of operation keys, AES-256-GCM under the key-encryption key. Events from "
    "not_before on are signed with keys of this seed; losing a row loses the keys of its time.'",
    """
    CREATE TABLE certificate (
        key_id      text PRIMARY KEY,
        subject     text NOT NULL,
        certificate bytea NOT NULL,
        not_before  timestamptz NOT NULL,
        not_after   timestamptz NOT NULL,
        roles       text[] NOT NULL,
        revoked_at  timestamptz,
        reason      text
    )
    """,
    "CREATE INDEX certificate_not_after ON certificate (not_after)",
    "COMMENT ON TABLE certificate IS 'What grace.identity.v1 states, by key.'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE certificate")
    op.execute("DROP TABLE epoch")
