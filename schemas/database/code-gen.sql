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

