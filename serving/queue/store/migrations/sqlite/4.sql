-- From schema 3 to 4: bodies and keys are forgotten after a time; what is to be forgotten is found without a scan. From
-- here on the number of the schema stands in a table, and user_version only tells older releases to keep away.
CREATE INDEX message_kept ON message (id) WHERE body <> x'';
CREATE INDEX idempotency_at ON idempotency (at);
PRAGMA user_version = 4;
