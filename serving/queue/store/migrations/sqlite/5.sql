-- From schema 4 to 5: a principal may have several credentials, and each its own end. SQLite drops no unique column, so
-- the table is made again; what refers to it finds it under its name (foreign keys are not enforced meanwhile).
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
INSERT INTO credential (kind, name, principal, created_at, expires_at)
SELECT 'key', key_hash, id, created_at, revoked_at FROM principal;
CREATE TABLE former AS SELECT id, name, policy, created_at, revoked_at FROM principal;
DROP TABLE principal;
CREATE TABLE principal (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    policy     TEXT NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
) STRICT;
INSERT INTO principal (id, name, policy, created_at, revoked_at)
SELECT id, name, policy, created_at, revoked_at FROM former;
DROP TABLE former;
PRAGMA user_version = 5;
