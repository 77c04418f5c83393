-- From schema 5 to 6: addresses that nothing is sent to, what webhooks are told, and how urgent mail escalates.
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
