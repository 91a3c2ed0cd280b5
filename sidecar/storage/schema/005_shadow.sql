-- What became of calls that were also sent down the routed plan, after the app had its answer from the legacy
-- arm. They are no decisions and count in no arm. Durations are milliseconds, money nano-dollars.
CREATE TABLE shadow_results (
    sequence      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns         INTEGER NOT NULL,
    request_id    TEXT    NOT NULL,
    shadow_of     TEXT    NOT NULL,
    task_type     TEXT    NOT NULL,
    tier          TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    failed        INTEGER NOT NULL,
    detail        TEXT    NOT NULL,
    duration_ms   REAL    NOT NULL,
    legacy_ms     REAL    NOT NULL,
    output_tokens INTEGER NOT NULL,
    legacy_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL
) STRICT;
CREATE INDEX shadow_results_at ON shadow_results (at_ns);
