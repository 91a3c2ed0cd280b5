-- The rollout in force: one row. Percent in hundredths, so that it is exact to two decimals.
CREATE TABLE rollout (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    hundredths INTEGER NOT NULL CHECK (hundredths BETWEEN 0 AND 10000),
    salt       TEXT    NOT NULL,
    version    INTEGER NOT NULL
) STRICT;

CREATE TABLE rollout_history (
    version         INTEGER PRIMARY KEY,
    at_ns           INTEGER NOT NULL,
    actor           TEXT    NOT NULL,
    from_hundredths INTEGER,
    to_hundredths   INTEGER NOT NULL,
    reason          TEXT    NOT NULL
) STRICT;

-- Who changed what, old to new. Rows are only ever added.
CREATE TABLE audit (
    sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns     INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    old_value TEXT    NOT NULL,
    new_value TEXT    NOT NULL,
    reason    TEXT    NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_erased BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
