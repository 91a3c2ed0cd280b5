-- The ledger: what was held, what it came to, and the caps over it. Money is whole nano-dollars, times are
-- Unix nanoseconds, a slot is a quarter of an hour counted from 1970-01-01 UTC.

-- One row for each attempt that held money. The state goes open -> reported | estimated | released | unknown,
-- and from unknown, by an operator, to released.
CREATE TABLE ledger_holds (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id    TEXT    NOT NULL,
  attempt       INTEGER NOT NULL,
  tier          TEXT    NOT NULL,
  model         TEXT    NOT NULL,
  arm           TEXT    NOT NULL,
  app           TEXT    NOT NULL,
  held_at_ns    INTEGER NOT NULL,
  slot          INTEGER NOT NULL,
  amount        INTEGER NOT NULL CHECK (amount >= 0),
  state         TEXT    NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'reported', 'estimated', 'released', 'unknown')),
  posted        INTEGER NOT NULL DEFAULT 0 CHECK (posted BETWEEN 0 AND amount),
  settled_at_ns INTEGER,
  input_tokens  INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cached_tokens INTEGER NOT NULL DEFAULT 0,
  flag          TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX ledger_holds_unsettled ON ledger_holds (state) WHERE state IN ('open', 'unknown');

-- What was posted, by the quarter of an hour in which it was held. Rows of ledger_holds may be pruned;
-- these stay, and every period of every cap is a sum over them.
CREATE TABLE ledger_spend (
  slot          INTEGER NOT NULL,
  tier          TEXT    NOT NULL,
  model         TEXT    NOT NULL,
  arm           TEXT    NOT NULL,
  app           TEXT    NOT NULL,
  posted        INTEGER NOT NULL,
  unreconciled  INTEGER NOT NULL,
  calls         INTEGER NOT NULL,
  estimated     INTEGER NOT NULL,
  flagged       INTEGER NOT NULL,
  input_tokens  INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  PRIMARY KEY (slot, tier, model, arm, app)
) STRICT, WITHOUT ROWID;

-- The sums follow the rows they are made of: whatever changes a row's state changes the sum with it.
CREATE TRIGGER ledger_spend_follows AFTER UPDATE OF state ON ledger_holds WHEN new.state <> old.state
BEGIN
  INSERT INTO ledger_spend VALUES (
    new.slot, new.tier, new.model, new.arm, new.app,
    new.posted - old.posted,
    iif(new.state = 'unknown', new.posted, 0) - iif(old.state = 'unknown', old.posted, 0),
    (new.state <> 'released') - (old.state NOT IN ('open', 'released')),
    (new.state = 'estimated') - (old.state = 'estimated'),
    (new.flag <> '') - (old.flag <> ''),
    new.input_tokens - old.input_tokens,
    new.output_tokens - old.output_tokens,
    new.cached_tokens - old.cached_tokens
  )
  ON CONFLICT (slot, tier, model, arm, app) DO UPDATE SET
    posted        = posted        + excluded.posted,
    unreconciled  = unreconciled  + excluded.unreconciled,
    calls         = calls         + excluded.calls,
    estimated     = estimated     + excluded.estimated,
    flagged       = flagged       + excluded.flagged,
    input_tokens  = input_tokens  + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens;
END;

-- Alerts: a row is written once for each key; the undelivered ones are the webhook's outbox.
CREATE TABLE ledger_alerts (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  key          TEXT    NOT NULL UNIQUE,
  at_ns        INTEGER NOT NULL,
  kind         TEXT    NOT NULL,
  text         TEXT    NOT NULL,
  detail       TEXT    NOT NULL,             -- JSON
  delivered_at_ns INTEGER,
  attempts     INTEGER NOT NULL DEFAULT 0,
  next_try_ns  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX ledger_alerts_undelivered ON ledger_alerts (next_try_ns) WHERE delivered_at_ns IS NULL;

-- One group commit is one row inserted here: one statement, so one transaction and one write to the disk,
-- and all of it or nothing. Writing the same batch twice changes nothing the second time.
--   holds        JSON [[id, request_id, attempt, tier, model, arm, app, held_at_ns, slot, amount], ...]
--   settlements  JSON [[id, state, posted, settled_at_ns, input, output, cached, flag], ...]
--   alerts       JSON [[key, at_ns, kind, text, detail], ...]
CREATE VIEW ledger_commit (holds, settlements, alerts) AS SELECT '', '', '' WHERE false;

CREATE TRIGGER ledger_commit_apply INSTEAD OF INSERT ON ledger_commit
BEGIN
  INSERT INTO ledger_holds
    (id, request_id, attempt, tier, model, arm, app, held_at_ns, slot, amount)
  SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
    json_extract(value, '$[9]')
  FROM json_each(new.holds) WHERE true
  ON CONFLICT (id) DO NOTHING;

  UPDATE ledger_holds SET
    state         = json_extract(settlement.value, '$[1]'),
    posted        = json_extract(settlement.value, '$[2]'),
    settled_at_ns = json_extract(settlement.value, '$[3]'),
    input_tokens  = json_extract(settlement.value, '$[4]'),
    output_tokens = json_extract(settlement.value, '$[5]'),
    cached_tokens = json_extract(settlement.value, '$[6]'),
    flag          = json_extract(settlement.value, '$[7]')
  FROM json_each(new.settlements) AS settlement
  WHERE ledger_holds.id = json_extract(settlement.value, '$[0]') AND ledger_holds.state = 'open';

  INSERT INTO ledger_alerts (key, at_ns, kind, text, detail)
  SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]')
  FROM json_each(new.alerts) WHERE true
  ON CONFLICT (key) DO NOTHING;
END;

-- The caps in force. `seed` is the cap as the configuration last had it, empty for one that an operator
-- added; `removed` keeps the seed of one that an operator took away, so that it stays away.
CREATE TABLE ledger_caps (
  name          TEXT    PRIMARY KEY,
  tier          TEXT    NOT NULL,
  period        TEXT    NOT NULL CHECK (period IN ('day', 'month', 'total')),
  limit_nano    INTEGER NOT NULL CHECK (limit_nano >= 0),
  set_by        TEXT    NOT NULL CHECK (set_by IN ('config', 'operator')),
  seed          TEXT    NOT NULL,
  removed       INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
  changed_at_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the caps were, change by change; written by the triggers below, never by hand.
CREATE TABLE ledger_cap_changes (
  id         INTEGER PRIMARY KEY,
  at_ns      INTEGER NOT NULL,
  name       TEXT    NOT NULL,
  tier       TEXT    NOT NULL,
  period     TEXT    NOT NULL,
  limit_nano INTEGER NOT NULL,
  set_by     TEXT    NOT NULL,
  removed    INTEGER NOT NULL
) STRICT;

CREATE TRIGGER ledger_cap_added AFTER INSERT ON ledger_caps
BEGIN
  INSERT INTO ledger_cap_changes (at_ns, name, tier, period, limit_nano, set_by, removed)
  VALUES (new.changed_at_ns, new.name, new.tier, new.period, new.limit_nano, new.set_by, new.removed);
END;

CREATE TRIGGER ledger_cap_changed AFTER UPDATE ON ledger_caps
BEGIN
  INSERT INTO ledger_cap_changes (at_ns, name, tier, period, limit_nano, set_by, removed)
  VALUES (new.changed_at_ns, new.name, new.tier, new.period, new.limit_nano, new.set_by, new.removed);
END;
