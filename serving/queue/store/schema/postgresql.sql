-- The one place where state lives. Octets are opaque here: bodies, addresses and certificates come sealed.
-- Times are seconds since 1970-01-01 UTC; money is integer minor units. The same columns as SQLite's, and one more:
-- growth.position stands in for the order in which SQLite keeps rows.

CREATE TABLE message (
    id          BIGINT           PRIMARY KEY,
    principal   TEXT             NOT NULL,
    body        BYTEA            NOT NULL,
    accepted_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX message_kept ON message (id) WHERE body <> '';

CREATE TABLE notification (
    id           BIGINT           PRIMARY KEY,
    message      BIGINT           NOT NULL REFERENCES message (id),
    ordinal      BIGINT           NOT NULL,
    recipient    BYTEA            NOT NULL,
    address      BYTEA            NOT NULL,
    stage        TEXT,
    state        TEXT             NOT NULL CHECK (state IN
        ('queued', 'leased', 'deferred', 'parked', 'delivered', 'discarded', 'rejected', 'dead')),
    priority     BIGINT           NOT NULL,
    available_at DOUBLE PRECISION,
    attempt      BIGINT           NOT NULL DEFAULT 0,
    fence        BIGINT           NOT NULL DEFAULT 0,
    owner        TEXT,
    lease_until  DOUBLE PRECISION,
    facts        TEXT             NOT NULL,
    reaction     BYTEA            NOT NULL DEFAULT '',
    woken        BIGINT           NOT NULL DEFAULT 0,
    via          BIGINT           REFERENCES notification (id),
    accepted_at  DOUBLE PRECISION NOT NULL
);

CREATE INDEX notification_ready ON notification (stage, priority, available_at)
    WHERE available_at IS NOT NULL AND state IN ('queued', 'deferred', 'parked');
CREATE INDEX notification_leased ON notification (owner, stage, lease_until) WHERE state = 'leased';
CREATE INDEX notification_waiting ON notification (recipient, stage) WHERE stage IS NOT NULL;
CREATE INDEX notification_via ON notification (via) WHERE via IS NOT NULL;
CREATE INDEX notification_message ON notification (message, stage);
CREATE INDEX notification_depth ON notification (stage, state, available_at);

CREATE TABLE envelope (
    notification BIGINT PRIMARY KEY REFERENCES notification (id),
    body         BYTEA  NOT NULL
);

CREATE TABLE event (
    notification BIGINT           NOT NULL REFERENCES notification (id),
    seq          BIGINT           NOT NULL,
    at           DOUBLE PRECISION NOT NULL,
    stage        TEXT,
    kind         TEXT             NOT NULL,
    next         TEXT,
    detail       TEXT             NOT NULL,
    PRIMARY KEY (notification, seq)
);

CREATE TABLE idempotency (
    principal TEXT             NOT NULL,
    key       TEXT             NOT NULL,
    digest    BYTEA            NOT NULL,
    message   BIGINT           NOT NULL,
    at        DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (principal, key)
);

CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE principal (
    id         TEXT             PRIMARY KEY,
    name       TEXT             NOT NULL,
    policy     TEXT             NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION
);

-- What a principal shows who it is by: an API key, of which only the digest is here, or an issuer's subject.
CREATE TABLE credential (
    kind       TEXT             NOT NULL CHECK (kind IN ('key', 'subject')),
    name       TEXT             NOT NULL,
    principal  TEXT             NOT NULL REFERENCES principal (id),
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    used_at    DOUBLE PRECISION,
    PRIMARY KEY (kind, name)
);

CREATE INDEX credential_principal ON credential (principal);

CREATE TABLE domain (
    name      TEXT NOT NULL,
    principal TEXT NOT NULL REFERENCES principal (id),
    PRIMARY KEY (name, principal)
);

CREATE INDEX domain_principal ON domain (principal);

CREATE TABLE recipient (
    lookup      BYTEA PRIMARY KEY,
    address     BYTEA NOT NULL,
    certificate BYTEA,
    wishes      TEXT  NOT NULL,
    policy      TEXT  NOT NULL
);

CREATE TABLE counter (
    key   BYTEA            PRIMARY KEY,
    count BIGINT           NOT NULL,
    last  DOUBLE PRECISION NOT NULL,
    link  BIGINT           NOT NULL
);

CREATE TABLE growth (
    message  BIGINT           NOT NULL REFERENCES message (id),
    key      BYTEA            NOT NULL,
    count    BIGINT           NOT NULL,
    at       DOUBLE PRECISION NOT NULL,
    link     BIGINT           NOT NULL,
    position BIGINT           GENERATED ALWAYS AS IDENTITY
);

CREATE INDEX growth_message ON growth (message);

CREATE TABLE counted (
    notification BIGINT NOT NULL,
    kind         TEXT   NOT NULL,
    PRIMARY KEY (notification, kind)
);

CREATE TABLE reaction (
    notification BIGINT           NOT NULL REFERENCES notification (id),
    kind         TEXT             NOT NULL,
    at           DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (notification, kind)
);

-- How far a recipient's urgent threshold lies from everybody's.
CREATE TABLE personal_offset (
    recipient BYTEA            PRIMARY KEY,
    log_odds  DOUBLE PRECISION NOT NULL
);

CREATE TABLE account (
    name     TEXT   PRIMARY KEY,
    currency TEXT   NOT NULL,
    balance  BIGINT NOT NULL CHECK (balance >= 0 OR (name NOT LIKE 'wallet:%' AND name NOT LIKE 'hold:%'))
);

CREATE TABLE transfer (
    seq          BIGINT           PRIMARY KEY,
    key          TEXT             NOT NULL UNIQUE,
    notification BIGINT,
    currency     TEXT             NOT NULL,
    at           DOUBLE PRECISION NOT NULL,
    hash         BYTEA            NOT NULL
);

CREATE TABLE posting (
    transfer BIGINT NOT NULL REFERENCES transfer (seq),
    account  TEXT   NOT NULL REFERENCES account (name),
    amount   BIGINT NOT NULL,
    PRIMARY KEY (transfer, account)
);

CREATE INDEX transfer_notification ON transfer (notification) WHERE notification IS NOT NULL;
CREATE INDEX posting_account ON posting (account);

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;

CREATE TRIGGER transfer_is_append_only BEFORE UPDATE ON transfer FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER transfer_stays BEFORE DELETE ON transfer FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER posting_is_append_only BEFORE UPDATE ON posting FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER posting_stays BEFORE DELETE ON posting FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE TABLE intent (
    key          TEXT             PRIMARY KEY,
    verb         TEXT             NOT NULL,
    notification BIGINT,
    payload      TEXT             NOT NULL,
    state        TEXT             NOT NULL CHECK (state IN ('open', 'done', 'refused')),
    outcome      TEXT,
    opened_at    DOUBLE PRECISION NOT NULL,
    closed_at    DOUBLE PRECISION
);

CREATE INDEX intent_state ON intent (state, opened_at);

-- Addresses that a receiver has said do not exist, or whose owners want no mail: nothing is sent there.
CREATE TABLE suppression (
    lookup BYTEA PRIMARY KEY,
    reason TEXT NOT NULL,
    at     DOUBLE PRECISION NOT NULL,
    until  DOUBLE PRECISION
);

CREATE INDEX suppression_until ON suppression (until) WHERE until IS NOT NULL;

-- What was said later of mail that a receiver had taken; its sender is told of the row where `is_told` is 0.
CREATE TABLE bounce (
    notification BIGINT NOT NULL REFERENCES notification (id),
    action       TEXT   NOT NULL CHECK (action IN ('failed', 'delayed', 'delivered')),
    reply        TEXT   NOT NULL,
    at           DOUBLE PRECISION NOT NULL,
    is_told      BIGINT NOT NULL,
    PRIMARY KEY (notification, action)
);

CREATE INDEX bounce_waiting ON bounce (at) WHERE is_told = 0;

-- Whom and what an urgent mail goes to next while its recipient does not acknowledge it; sealed.
CREATE TABLE escalation (
    lookup BYTEA PRIMARY KEY,
    chain  BYTEA NOT NULL
);

-- What a sender's webhook is to be told, in the order of `id`: each final state of a notification.
CREATE TABLE webhook (
    id           BIGINT PRIMARY KEY,
    notification BIGINT NOT NULL REFERENCES notification (id),
    principal    TEXT NOT NULL REFERENCES principal (id),
    event        TEXT NOT NULL,
    at           DOUBLE PRECISION NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'told', 'given_up')),
    attempt      BIGINT NOT NULL DEFAULT 0,
    available_at DOUBLE PRECISION NOT NULL,
    reply        TEXT NOT NULL DEFAULT ''
);

CREATE INDEX webhook_waiting ON webhook (available_at) WHERE state = 'waiting';
CREATE INDEX webhook_notification ON webhook (notification, id);
CREATE INDEX webhook_principal ON webhook (principal, id);

CREATE TABLE schema_version (version_num TEXT PRIMARY KEY NOT NULL);

INSERT INTO schema_version VALUES ('6');
