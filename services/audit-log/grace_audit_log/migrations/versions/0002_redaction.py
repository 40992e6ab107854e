"""Redaction: a payload may go when an entry of the ledger says so, and in no other way."""

from alembic import op

revision = "audit_log_0002"
down_revision = "audit_log_0001"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE redaction (
        index bigint PRIMARY KEY CHECK (index >= 0),
        entry bigint NOT NULL UNIQUE CHECK (entry > index)
    )
    """,
    "COMMENT ON TABLE redaction IS 'Entries whose payload went (index), and the entry that asked for it.'",
    # What the entry says decides: its payload is the envelope that the gateway stated and the crypto-signer notarised.
    """
    CREATE FUNCTION check_redaction() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT FROM entry asking JOIN payload ON payload.index = asking.index
            JOIN entry target ON target.index = NEW.index
            WHERE asking.index = NEW.entry AND asking.entry_type = 'grace.redaction-requested.v1'
            AND asking.service = 'gateway'
            AND target.entry_type NOT IN ('grace.redaction-requested.v1', 'grace.key-directory-published.v1')
            AND convert_from(payload.content, 'UTF8')::json #>> '{data,index}' = NEW.index::text
            AND convert_from(payload.content, 'UTF8')::json #>> '{data,entry_id}' = target.entry_id::text
        ) THEN
            RAISE EXCEPTION 'entry % does not ask for the redaction of entry %', NEW.entry, NEW.index
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER asked_for BEFORE INSERT ON redaction FOR EACH ROW EXECUTE FUNCTION check_redaction()",
    """
    CREATE FUNCTION check_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM redaction WHERE index = OLD.index) THEN
            RAISE EXCEPTION 'the payload of entry % stays: no entry of the ledger redacts it', OLD.index
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END $$
    """,
    "CREATE TRIGGER redacted BEFORE DELETE ON payload FOR EACH ROW EXECUTE FUNCTION check_deletion()",
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON redaction "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "REVOKE UPDATE, DELETE, TRUNCATE ON redaction FROM CURRENT_USER",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER redacted ON payload")
    op.execute("DROP TABLE redaction")
    op.execute("DROP FUNCTION check_deletion()")
    op.execute("DROP FUNCTION check_redaction()")
