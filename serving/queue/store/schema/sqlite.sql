-- The one place where state lives. Octets are opaque here: bodies, addresses and certificates come sealed.
-- Times are seconds since 1970-01-01 UTC as REAL; money is integer minor units.

CREATE TABLE message (
    id          INTEGER PRIMARY KEY,
    principal   TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    accepted_at REAL    NOT NULL
) STRICT;

CREATE INDEX message_kept ON message (id) WHERE body <> x'';

CREATE TABLE notification (
    id           INTEGER PRIMARY KEY,
    message      INTEGER NOT NULL REFERENCES message (id),
    ordinal      INTEGER NOT NULL,
    recipient    BLOB    NOT NULL,
    address      BLOB    NOT NULL,
    stage        TEXT,
    state        TEXT    NOT NULL CHECK (state IN
        ('queued', 'leased', 'deferred', 'parked', 'delivered', 'discarded', 'rejected', 'dead')),
    priority     INTEGER NOT NULL,
    available_at REAL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    fence        INTEGER NOT NULL DEFAULT 0,
    owner        TEXT,
    lease_until  REAL,
    facts        TEXT    NOT NULL,
    reaction     BLOB    NOT NULL DEFAULT x'',
    woken        INTEGER NOT NULL DEFAULT 0,
    via          INTEGER REFERENCES notification (id),
    accepted_at  REAL    NOT NULL
) STRICT;

CREATE INDEX notification_ready ON notification (stage, priority, available_at)
    WHERE available_at IS NOT NULL AND state IN ('queued', 'deferred', 'parked');
CREATE INDEX notification_leased ON notification (owner, stage, lease_until) WHERE state = 'leased';
CREATE INDEX notification_waiting ON notification (recipient, stage) WHERE stage IS NOT NULL;
CREATE INDEX notification_via ON notification (via) WHERE via IS NOT NULL;
CREATE INDEX notification_message ON notification (message, stage);
CREATE INDEX notification_depth ON notification (stage, state, available_at);

CREATE TABLE envelope (
    notification INTEGER PRIMARY KEY REFERENCES notification (id),
    body         BLOB NOT NULL
) STRICT;

CREATE TABLE event (
    notification INTEGER NOT NULL REFERENCES notification (id),
    seq          INTEGER NOT NULL,
    at           REAL    NOT NULL,
    stage        TEXT,
    kind         TEXT    NOT NULL,
    next         TEXT,
    detail       TEXT    NOT NULL,
    PRIMARY KEY (notification, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    principal TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    digest    BLOB    NOT NULL,
    message   INTEGER NOT NULL,
    at        REAL    NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE principal (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    policy     TEXT NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
) STRICT;

-- What a principal shows who it is by: an API key, of which only the digest is here, or an issuer's subject.
CREATE TABLE credential (
    kind       TEXT NOT NULL CHECK (kind IN ('key', 'subject')),
    name       TEXT NOT NULL,
    principal  TEXT NOT NULL REFERENCES principal (id),
    created_at REAL NOT NULL,
    expires_at REAL,
    used_at    REAL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX credential_principal ON credential (principal);

CREATE TABLE domain (
    name      TEXT NOT NULL,
    principal TEXT NOT NULL REFERENCES principal (id),
    PRIMARY KEY (name, principal)
) STRICT, WITHOUT ROWID;

CREATE INDEX domain_principal ON domain (principal);

CREATE TABLE recipient (
    lookup      BLOB PRIMARY KEY,
    address     BLOB NOT NULL,
    certificate BLOB,
    wishes      TEXT NOT NULL,
    policy      TEXT NOT NULL
) STRICT;

CREATE TABLE counter (
    key   BLOB PRIMARY KEY,
    count INTEGER NOT NULL,
    last  REAL    NOT NULL,
    link  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE growth (
    message INTEGER NOT NULL REFERENCES message (id),
    key     BLOB    NOT NULL,
    count   INTEGER NOT NULL,
    at      REAL    NOT NULL,
    link    INTEGER NOT NULL
) STRICT;

CREATE INDEX growth_message ON growth (message);

CREATE TABLE counted (
    notification INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    PRIMARY KEY (notification, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE reaction (
    notification INTEGER NOT NULL REFERENCES notification (id),
    kind         TEXT    NOT NULL,
    at           REAL    NOT NULL,
    PRIMARY KEY (notification, kind)
) STRICT, WITHOUT ROWID;

-- How far a recipient's urgent threshold lies from everybody's.
CREATE TABLE personal_offset (
    recipient BLOB PRIMARY KEY,
    log_odds  REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    name     TEXT PRIMARY KEY,
    currency TEXT    NOT NULL,
    balance  INTEGER NOT NULL CHECK (balance >= 0 OR (name NOT LIKE 'wallet:%' AND name NOT LIKE 'hold:%'))
) STRICT, WITHOUT ROWID;

CREATE TABLE transfer (
    seq          INTEGER PRIMARY KEY,
    key          TEXT    NOT NULL UNIQUE,
    notification INTEGER,
    currency     TEXT    NOT NULL,
    at           REAL    NOT NULL,
    hash         BLOB    NOT NULL
) STRICT;

CREATE TABLE posting (
    transfer INTEGER NOT NULL REFERENCES transfer (seq),
    account  TEXT    NOT NULL REFERENCES account (name),
    amount   INTEGER NOT NULL,
    PRIMARY KEY (transfer, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX transfer_notification ON transfer (notification) WHERE notification IS NOT NULL;
CREATE INDEX posting_account ON posting (account);

CREATE TRIGGER transfer_is_append_only BEFORE UPDATE ON transfer BEGIN SELECT raise(ABORT, 'append-only'); END;
CREATE TRIGGER transfer_stays BEFORE DELETE ON transfer BEGIN SELECT raise(ABORT, 'append-only'); END;
CREATE TRIGGER posting_is_append_only BEFORE UPDATE ON posting BEGIN SELECT raise(ABORT, 'append-only'); END;
CREATE TRIGGER posting_stays BEFORE DELETE ON posting BEGIN SELECT raise(ABORT, 'append-only'); END;

CREATE TABLE intent (
    key          TEXT PRIMARY KEY,
    verb         TEXT NOT NULL,
    notification INTEGER,
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'done', 'refused')),
    outcome      TEXT,
    opened_at    REAL NOT NULL,
    closed_at    REAL
) STRICT;

CREATE INDEX intent_state ON intent (state, opened_at);

-- Addresses that a receiver has said do not exist, or whose owners want no mail: nothing is sent there.
CREATE TABLE suppression (
    lookup BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    at     REAL NOT NULL,
    until  REAL
) STRICT, WITHOUT ROWID;

CREATE INDEX suppression_until ON suppression (until) WHERE until IS NOT NULL;

-- What was said later of mail that a receiver had taken; its sender is told of the row where `is_told` is 0.
CREATE TABLE bounce (
    notification INTEGER NOT NULL REFERENCES notification (id),
    action       TEXT    NOT NULL CHECK (action IN ('failed', 'delayed', 'delivered')),
    reply        TEXT    NOT NULL,
    at           REAL    NOT NULL,
    is_told      INTEGER NOT NULL,
    PRIMARY KEY (notification, action)
) STRICT, WITHOUT ROWID;

CREATE INDEX bounce_waiting ON bounce (at) WHERE is_told = 0;

-- Whom and what an urgent mail goes to next while its recipient does not acknowledge it; sealed.
CREATE TABLE escalation (
    lookup BLOB PRIMARY KEY,
    chain  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What a sender's webhook is to be told, in the order of `id`: each final state of a notification.
CREATE TABLE webhook (
    id           INTEGER PRIMARY KEY,
    notification INTEGER NOT NULL REFERENCES notification (id),
    principal    TEXT NOT NULL REFERENCES principal (id),
    event        TEXT NOT NULL,
    at           REAL NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'told', 'given_up')),
    attempt      INTEGER NOT NULL DEFAULT 0,
    available_at REAL NOT NULL,
    reply        TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX webhook_waiting ON webhook (available_at) WHERE state = 'waiting';
CREATE INDEX webhook_notification ON webhook (notification, id);
CREATE INDEX webhook_principal ON webhook (principal, id);

CREATE TABLE schema_version (version_num TEXT PRIMARY KEY NOT NULL) STRICT;

INSERT INTO schema_version VALUES ('6');

PRAGMA user_version = 6; -- older releases look here
