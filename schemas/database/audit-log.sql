CREATE TABLE alembic_version_runtime (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_runtime_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> runtime_0001

CREATE TABLE inbox (
        consumer   text NOT NULL,
        event_id   uuid NOT NULL,
        handled_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (consumer, event_id)
    );

CREATE TABLE outbox (
        position  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id  uuid NOT NULL UNIQUE,
        topic     text NOT NULL,
        key       bytea NOT NULL,
        value     bytea NOT NULL,
        stated_at timestamptz NOT NULL DEFAULT now(),
        sent_at   timestamptz
    );

CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;

CREATE INDEX outbox_unsent ON outbox (position) WHERE sent_at IS NULL;

INSERT INTO alembic_version_runtime (version_num) VALUES ('runtime_0001') RETURNING alembic_version_runtime.version_num;

-- Running upgrade runtime_0001 -> runtime_0002

DROP INDEX outbox_unsent;

DROP INDEX outbox_sent;

CREATE TABLE outbox_unsent (position bigint PRIMARY KEY);

INSERT INTO outbox_unsent SELECT position FROM outbox WHERE sent_at IS NULL;

ALTER TABLE outbox DROP COLUMN sent_at;

UPDATE alembic_version_runtime SET version_num='runtime_0002' WHERE alembic_version_runtime.version_num = 'runtime_0001';

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> audit_log_0001

CREATE TABLE entry (
        index        bigint PRIMARY KEY CHECK (index >= 0),
        entry_id     uuid NOT NULL UNIQUE,
        leaf         bytea NOT NULL,
        leaf_hash    bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
        entry_type   text NOT NULL,
        operation_id uuid NOT NULL,
        correlation  text NOT NULL,
        actor        text NOT NULL,
        service      text NOT NULL,
        time         timestamptz NOT NULL
    );

COMMENT ON TABLE entry IS 'The leaves in the order of the tree. A leaf is the exact bytes of a signed statement.';

CREATE TABLE payload (
        index   bigint PRIMARY KEY CHECK (index >= 0),
        content bytea NOT NULL
    );

COMMENT ON TABLE payload IS 'What each statement is about. A row can go (redaction); the leaf keeps its digest.';

CREATE TABLE tile (
        level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
        index  bigint NOT NULL CHECK (index >= 0),
        hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
        root   bytea NOT NULL CHECK (octet_length(root) = 32),
        PRIMARY KEY (level, index)
    );

COMMENT ON TABLE tile IS 'Full tiles (C2SP tlog-tiles, height 8) and their root, a hash of the tile above.';

CREATE TABLE checkpoint (
        size            bigint PRIMARY KEY CHECK (size >= 0),
        root            bytea NOT NULL CHECK (octet_length(root) = 32),
        note            bytea NOT NULL,
        previous_size   bigint UNIQUE,
        previous_root   bytea,
        topic_partition integer,
        topic_offset    bigint,
        committed_at    timestamptz NOT NULL,
        CHECK (size > previous_size),
        CHECK ((previous_size IS NULL) = (size = 0)),
        CHECK ((previous_root IS NULL) = (size = 0)),
        CHECK ((topic_offset IS NULL) = (size = 0)),
        CHECK ((topic_partition IS NULL) = (size = 0))
    );

COMMENT ON TABLE checkpoint IS 'One row a commit. That previous_size is unique, and that it must name a row with previous_root, is the compare-and-swap on (size, root): no tree has two successors.';

COMMENT ON COLUMN checkpoint.topic_offset IS 'The last record of grace.signature.v1 that this tree contains.';

CREATE TABLE announcement (
        size         bigint PRIMARY KEY,
        announced_at timestamptz NOT NULL
    );

COMMENT ON TABLE announcement IS 'Sizes whose checkpoint was published and stated on grace.ledger.v1.';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '%% of %% is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$;

CREATE FUNCTION check_succession() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.size > 0 AND NOT EXISTS (
            SELECT FROM checkpoint WHERE size = NEW.previous_size AND root = NEW.previous_root
        ) THEN
            RAISE EXCEPTION 'checkpoint %% does not follow one that is here', NEW.size
                USING ERRCODE = 'unique_violation';
        END IF;
        RETURN NEW;
    END $$;

CREATE TRIGGER follows BEFORE INSERT ON checkpoint FOR EACH ROW EXECUTE FUNCTION check_succession();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON entry FROM CURRENT_USER;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tile FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON tile FROM CURRENT_USER;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoint FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON checkpoint FROM CURRENT_USER;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON announcement FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON announcement FROM CURRENT_USER;

CREATE TRIGGER never_changed BEFORE UPDATE OR TRUNCATE ON payload FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, TRUNCATE ON payload FROM CURRENT_USER;

INSERT INTO alembic_version (version_num) VALUES ('audit_log_0001') RETURNING alembic_version.version_num;

-- Running upgrade audit_log_0001 -> audit_log_0002

CREATE TABLE redaction (
        index bigint PRIMARY KEY CHECK (index >= 0),
        entry bigint NOT NULL UNIQUE CHECK (entry > index)
    );

COMMENT ON TABLE redaction IS 'Entries whose payload went (index), and the entry that asked for it.';

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
            RAISE EXCEPTION 'entry %% does not ask for the redaction of entry %%', NEW.entry, NEW.index
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$;

CREATE TRIGGER asked_for BEFORE INSERT ON redaction FOR EACH ROW EXECUTE FUNCTION check_redaction();

CREATE FUNCTION check_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM redaction WHERE index = OLD.index) THEN
            RAISE EXCEPTION 'the payload of entry %% stays: no entry of the ledger redacts it', OLD.index
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END $$;

CREATE TRIGGER redacted BEFORE DELETE ON payload FOR EACH ROW EXECUTE FUNCTION check_deletion();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON redaction FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

REVOKE UPDATE, DELETE, TRUNCATE ON redaction FROM CURRENT_USER;

UPDATE alembic_version SET version_num='audit_log_0002' WHERE alembic_version.version_num = 'audit_log_0001';

