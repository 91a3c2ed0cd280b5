-- The tiers that an operator has taken out of service; one that is put back has no row.
CREATE TABLE tiers_out (
    tier   TEXT    PRIMARY KEY,
    at_ns  INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    reason TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
