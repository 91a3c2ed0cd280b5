-- One row per call that ended, narrow, so that a walk through time reads few pages. `sequence` grows in the
-- order in which calls ended; it is the paging key and the live cursor, and is never reused.
CREATE TABLE decisions (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id      TEXT    NOT NULL,
    started_ns      INTEGER NOT NULL,
    duration_ms     REAL    NOT NULL,
    first_byte_ms   REAL,
    outcome         TEXT    NOT NULL,
    status          INTEGER NOT NULL,
    error_code      TEXT    NOT NULL,
    arm             TEXT    NOT NULL,
    tier            TEXT    NOT NULL,
    model           TEXT    NOT NULL,
    requested_model TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    verdict         TEXT    NOT NULL,
    fallback        INTEGER NOT NULL,
    app             TEXT    NOT NULL,
    session         TEXT    NOT NULL,
    door            TEXT    NOT NULL,
    task_type       TEXT    NOT NULL,
    input_tokens    INTEGER NOT NULL,
    output_tokens   INTEGER NOT NULL,
    cost_nano_usd   INTEGER NOT NULL,
    trace_id        TEXT    NOT NULL
) STRICT;

-- Every index ends in the sequence (SQLite's rowid), so each filter yields its rows newest first. Values that
-- nearly every row has are left out: they are found at once without an index.
CREATE UNIQUE INDEX decisions_request_id ON decisions (request_id);
CREATE INDEX decisions_arm        ON decisions (arm);
CREATE INDEX decisions_tier       ON decisions (tier);
CREATE INDEX decisions_model      ON decisions (model);
CREATE INDEX decisions_reason     ON decisions (reason);
CREATE INDEX decisions_outcome    ON decisions (outcome)       WHERE outcome <> 'complete';
CREATE INDEX decisions_verdict    ON decisions (verdict)       WHERE verdict <> 'CLEAN';
CREATE INDEX decisions_task_type  ON decisions (task_type)     WHERE task_type <> '';
CREATE INDEX decisions_app        ON decisions (app)           WHERE app <> '';
CREATE INDEX decisions_session    ON decisions (session)       WHERE session <> '';
CREATE INDEX decisions_error_code ON decisions (error_code)    WHERE error_code <> '';
CREATE INDEX decisions_status     ON decisions (status)        WHERE status >= 400;
CREATE INDEX decisions_fallback   ON decisions (fallback)      WHERE fallback = 1;
CREATE INDEX decisions_cost       ON decisions (cost_nano_usd) WHERE cost_nano_usd >= 1;
CREATE INDEX decisions_duration   ON decisions (duration_ms)   WHERE duration_ms >= 2000;

-- The whole record as MessagePack, apart from the narrow row: read one at a time.
CREATE TABLE decision_bodies (
    sequence INTEGER PRIMARY KEY,
    body     BLOB NOT NULL
) STRICT;

-- Which sequences began in which minute (Unix minutes): turns a time range into a sequence range.
CREATE TABLE decision_minutes (
    minute         INTEGER PRIMARY KEY,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL
) STRICT;

-- The policies that decisions were made under, so that each can be replayed.
CREATE TABLE policies (
    policy_id     TEXT    PRIMARY KEY,
    policy        TEXT    NOT NULL,
    first_seen_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How an answer was rated; the latest rating of a call counts.
CREATE TABLE feedback (
    request_id TEXT    PRIMARY KEY,
    score      REAL    NOT NULL,
    comment    TEXT    NOT NULL,
    at_ns      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX feedback_at ON feedback (at_ns);

-- Sums and histograms per `grain` seconds. `facet` says what `label` is: nothing ('all'), a reason, a task
-- type, a model, an app, an error code or an attempt's fault. `arm` and `tier` are empty in the facets that
-- are not split by them.
CREATE TABLE rollups (
    grain          INTEGER NOT NULL,
    facet          TEXT    NOT NULL,
    start_s        INTEGER NOT NULL,
    arm            TEXT    NOT NULL,
    tier           TEXT    NOT NULL,
    label          TEXT    NOT NULL,
    calls          INTEGER NOT NULL,
    failed         INTEGER NOT NULL,
    refused        INTEGER NOT NULL,
    left_early     INTEGER NOT NULL,
    fallbacks      INTEGER NOT NULL,
    input_tokens   INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    cost_nano_usd  INTEGER NOT NULL,
    cost_usd_squares REAL  NOT NULL,
    ratings        INTEGER NOT NULL,
    score_sum      REAL    NOT NULL,
    score_squares  REAL    NOT NULL,
    latency        BLOB    NOT NULL,
    first_byte     BLOB    NOT NULL,
    PRIMARY KEY (grain, facet, start_s, arm, tier, label)
) STRICT, WITHOUT ROWID;
