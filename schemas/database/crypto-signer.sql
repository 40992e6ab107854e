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

-- Running upgrade  -> crypto_signer_0001

CREATE TABLE epoch (
        number     integer PRIMARY KEY CHECK (number >= 1),
        not_before timestamptz NOT NULL UNIQUE,
        kek_id     text NOT NULL,
        nonce      bytea NOT NULL CHECK (octet_length(nonce) = 12),
        sealed     bytea NOT NULL CHECK (octet_length(sealed) = 48),
        created_at timestamptz NOT NULL DEFAULT now()
    );

COMMENT ON TABLE epoch IS 'Seeds of operation keys, AES-256-GCM under the key-encryption key. Events from not_before on are signed with keys of this seed; losing a row loses the keys of its time.';

CREATE TABLE certificate (
        key_id      text PRIMARY KEY,
        subject     text NOT NULL,
        certificate bytea NOT NULL,
        not_before  timestamptz NOT NULL,
        not_after   timestamptz NOT NULL,
        roles       text[] NOT NULL,
        revoked_at  timestamptz,
        reason      text
    );

CREATE INDEX certificate_not_after ON certificate (not_after);

COMMENT ON TABLE certificate IS 'What grace.identity.v1 states, by key.';

INSERT INTO alembic_version (version_num) VALUES ('crypto_signer_0001') RETURNING alembic_version.version_num;

-- Running upgrade crypto_signer_0001 -> crypto_signer_0002

ALTER TABLE epoch ADD COLUMN operations bigint NOT NULL DEFAULT 0 CHECK (operations >= 0);

UPDATE alembic_version SET version_num='crypto_signer_0002' WHERE alembic_version.version_num = 'crypto_signer_0001';

-- Running upgrade crypto_signer_0002 -> crypto_signer_0003

CREATE TABLE witnessed (
        origin      text PRIMARY KEY,
        log_key     text NOT NULL,
        size        bigint NOT NULL CHECK (size >= 0),
        root        bytea NOT NULL CHECK (octet_length(root) = 32),
        note        bytea NOT NULL,
        cosigned_at timestamptz NOT NULL DEFAULT now()
    );

COMMENT ON TABLE witnessed IS 'The newest checkpoint of each log that was cosigned; whatever does not continue it never is. log_key is the vkey that is trusted now.';

UPDATE alembic_version SET version_num='crypto_signer_0003' WHERE alembic_version.version_num = 'crypto_signer_0002';

