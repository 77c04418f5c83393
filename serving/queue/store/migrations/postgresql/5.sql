-- From schema 4, the first there was here, to 5: a principal may have several credentials, and each its own end.
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
INSERT INTO credential (kind, name, principal, created_at, expires_at)
SELECT 'key', key_hash, id, created_at, revoked_at FROM principal;
ALTER TABLE principal DROP COLUMN key_hash;
