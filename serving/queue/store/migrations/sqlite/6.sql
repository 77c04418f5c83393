-- From schema 5 to 6: addresses that nothing is sent to, what webhooks are told, and how urgent mail escalates.
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
PRAGMA user_version = 6;
