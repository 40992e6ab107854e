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

-- Running upgrade  -> mtl_orchestrator_0001

CREATE TABLE task (
        task_id    uuid PRIMARY KEY,
        version    integer NOT NULL CHECK (version >= 1),
        phase      text NOT NULL,
        state      text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    );

COMMENT ON TABLE task IS 'The present state of every task: what its history leads to.';

CREATE INDEX task_phase ON task (phase);

CREATE TABLE history (
        task_id    uuid NOT NULL,
        position   integer NOT NULL CHECK (position >= 1),
        at         timestamptz NOT NULL,
        cause_type text NOT NULL,
        cause      text NOT NULL,
        facts      text NOT NULL,
        PRIMARY KEY (task_id, position)
    );

COMMENT ON TABLE history IS 'What each task heard and what it stated then; replaying it gives state and facts.';

CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'history is append-only';
    END
    $$;

CREATE TRIGGER history_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON history
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

CREATE TABLE timer (task_id uuid PRIMARY KEY, due_at timestamptz NOT NULL);

COMMENT ON TABLE timer IS 'When a running task fails unless it has ended.';

CREATE INDEX timer_due ON timer (due_at);

CREATE TABLE outcome (
        task_id      uuid PRIMARY KEY,
        outcome      text NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled')),
        requirements text NOT NULL,
        lesson       text NOT NULL,
        generator    text,
        confidence   double precision CHECK (confidence BETWEEN 0 AND 1),
        rounds       integer NOT NULL CHECK (rounds >= 0),
        learned_at   timestamptz NOT NULL,
        words        tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', requirements)) STORED
    );

COMMENT ON TABLE outcome IS 'Memory: what ended tasks taught.';

CREATE INDEX outcome_words ON outcome USING gin (words);

CREATE INDEX outcome_trigrams ON outcome USING gin (requirements gin_trgm_ops);

CREATE TABLE policy_set (
        position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sha256       text NOT NULL,
        policies     text NOT NULL,
        published_at timestamptz NOT NULL DEFAULT now()
    );

COMMENT ON TABLE policy_set IS 'Every set of policies that came into force, oldest first.';

INSERT INTO alembic_version (version_num) VALUES ('mtl_orchestrator_0001') RETURNING alembic_version.version_num;

