CREATE TABLE alembic_version_runtime (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_runtime_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> runtime_0001

CREATE TABLE inbox (
    consumer TEXT NOT NULL,
    event_id UUID NOT NULL,
    handled_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (consumer, event_id)
);

CREATE TABLE outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    event_id UUID NOT NULL,
    topic TEXT NOT NULL,
    key BYTEA NOT NULL,
    value BYTEA NOT NULL,
    stated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (position),
    UNIQUE (event_id)
);

CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;

CREATE INDEX outbox_unsent ON outbox (position) WHERE sent_at IS NULL;

INSERT INTO alembic_version_runtime (version_num) VALUES ('runtime_0001') RETURNING alembic_version_runtime.version_num;

