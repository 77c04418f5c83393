-- From schema 1 to 2: each recipient's own urgent threshold. Some stores of schema 1 have the table already.
CREATE TABLE IF NOT EXISTS personal_offset (
    recipient BLOB PRIMARY KEY,
    log_odds  REAL NOT NULL
) STRICT, WITHOUT ROWID;
