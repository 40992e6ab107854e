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

-- Running upgrade  -> gateway_0001

CREATE TABLE submission (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('task', 'evaluation', 'decision')),
    requester    text NOT NULL,
    title        text NOT NULL,
    state        text NOT NULL,
    waiting_for  text,
    mode         text,
    body_digest  bytea,
    submitted_at timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    type         text NOT NULL,
    actor        text NOT NULL,
    operation_id uuid NOT NULL,
    data         json NOT NULL
);

CREATE INDEX submission_newest ON submission (kind, submitted_at DESC, id DESC);

CREATE INDEX submission_by_requester ON submission (kind, requester, submitted_at DESC, id DESC);

CREATE INDEX submission_by_state ON submission (kind, state, submitted_at DESC, id DESC);

CREATE TABLE fact (
    position      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            uuid NOT NULL UNIQUE,
    submission_id uuid,
    type          text NOT NULL,
    time          timestamptz NOT NULL,
    service       text NOT NULL,
    actor         text NOT NULL,
    operation_id  uuid NOT NULL,
    step          json NOT NULL,
    data          json NOT NULL
);

CREATE INDEX fact_of_submission ON fact (submission_id, position);

CREATE TABLE operation (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    service     text NOT NULL,
    actor       text NOT NULL,
    subject     text NOT NULL,
    parent_id   uuid,
    why         text,
    started_at  timestamptz,
    ended_at    timestamptz,
    deadline    timestamptz,
    outcome     text CHECK (outcome IN ('succeeded', 'failed', 'refused')),
    data        json
);

CREATE INDEX operation_newest ON operation ((coalesce(ended_at, started_at)) DESC, id DESC);

CREATE INDEX operation_by_subject ON operation (subject, (coalesce(ended_at, started_at)) DESC);

CREATE TABLE ledger_entry (
    index        bigint PRIMARY KEY,
    entry_id     uuid NOT NULL,
    entry_type   text NOT NULL,
    operation_id uuid NOT NULL,
    correlation  text NOT NULL,
    actor        text NOT NULL,
    service      text NOT NULL,
    time         timestamptz NOT NULL
);

CREATE INDEX ledger_entry_by_operation ON ledger_entry (operation_id, index);

CREATE INDEX ledger_entry_by_correlation ON ledger_entry (correlation, index);

CREATE INDEX ledger_entry_by_actor ON ledger_entry (actor, index);

CREATE INDEX ledger_entry_by_type ON ledger_entry (entry_type, index);

CREATE INDEX ledger_entry_by_time ON ledger_entry USING brin (time);

CREATE TABLE checkpoint (
    tree_size    bigint PRIMARY KEY,
    root_sha256  text NOT NULL,
    note         text NOT NULL,
    published_at timestamptz NOT NULL
);

CREATE TABLE certificate (
    key_id      text PRIMARY KEY,
    subject     text NOT NULL,
    certificate bytea NOT NULL,
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    roles       text[] NOT NULL,
    revoked_at  timestamptz,
    reason      text,
    stated_at   timestamptz NOT NULL
);

CREATE TABLE dead_letter (
    refusal_id uuid NOT NULL,
    consumer   text NOT NULL,
    topic      text NOT NULL,
    code       text NOT NULL,
    reason     text NOT NULL,
    at         timestamptz NOT NULL,
    data       json NOT NULL,
    PRIMARY KEY (refusal_id, consumer)
);

CREATE INDEX dead_letter_newest ON dead_letter (at DESC, refusal_id DESC);

CREATE TABLE policy (
    name         text NOT NULL,
    version      integer NOT NULL,
    description  text NOT NULL,
    expressions  json NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE approval_record (
    event_id uuid PRIMARY KEY,
    value    bytea NOT NULL
);

CREATE TABLE memory (
    task_id      uuid PRIMARY KEY,
    outcome      text NOT NULL,
    requirements text NOT NULL,
    lesson       text NOT NULL,
    generator    text,
    confidence   double precision,
    rounds       integer NOT NULL,
    learned_at   timestamptz NOT NULL,
    words        tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', requirements), 'A') || setweight(to_tsvector('english', lesson), 'B')
    ) STORED
);

CREATE INDEX memory_by_word ON memory USING gin (words);

CREATE INDEX memory_newest ON memory (learned_at DESC, task_id DESC);

CREATE TABLE api_key (
    id         text PRIMARY KEY,
    username   text NOT NULL,
    roles      text[] NOT NULL,
    hash       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);

INSERT INTO alembic_version (version_num) VALUES ('gateway_0001') RETURNING alembic_version.version_num;

