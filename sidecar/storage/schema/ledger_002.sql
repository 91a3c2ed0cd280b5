-- Sums over ledger_spend for what is charted over weeks: by the hour without apps, and by the day and app.
-- An hour is counted from 1970-01-01 UTC in hours, a day in days. They follow every row that they are made
-- of, in the same transaction, and so are as exact.

CREATE TABLE ledger_spend_hours (
  hour   INTEGER NOT NULL,
  tier   TEXT    NOT NULL,
  model  TEXT    NOT NULL,
  posted INTEGER NOT NULL,
  calls  INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  PRIMARY KEY (hour, tier, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_spend_days (
  day    INTEGER NOT NULL,
  app    TEXT    NOT NULL,
  posted INTEGER NOT NULL,
  calls  INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  PRIMARY KEY (day, app)
) STRICT, WITHOUT ROWID;

INSERT INTO ledger_spend_hours
SELECT slot / 4, tier, model, sum(posted), sum(calls), sum(input_tokens + output_tokens)
FROM ledger_spend GROUP BY 1, 2, 3;

INSERT INTO ledger_spend_days
SELECT slot / 96, app, sum(posted), sum(calls), sum(input_tokens + output_tokens)
FROM ledger_spend GROUP BY 1, 2;

CREATE TRIGGER ledger_spend_sums_begin AFTER INSERT ON ledger_spend
BEGIN
  INSERT INTO ledger_spend_hours VALUES (
    new.slot / 4, new.tier, new.model, new.posted, new.calls, new.input_tokens + new.output_tokens
  )
  ON CONFLICT (hour, tier, model) DO UPDATE SET
    posted = posted + excluded.posted, calls = calls + excluded.calls, tokens = tokens + excluded.tokens;
  INSERT INTO ledger_spend_days VALUES (
    new.slot / 96, new.app, new.posted, new.calls, new.input_tokens + new.output_tokens
  )
  ON CONFLICT (day, app) DO UPDATE SET
    posted = posted + excluded.posted, calls = calls + excluded.calls, tokens = tokens + excluded.tokens;
END;

CREATE TRIGGER ledger_spend_sums_follow AFTER UPDATE ON ledger_spend
BEGIN
  UPDATE ledger_spend_hours SET
    posted = posted + new.posted - old.posted,
    calls  = calls + new.calls - old.calls,
    tokens = tokens + new.input_tokens + new.output_tokens - old.input_tokens - old.output_tokens
  WHERE hour = new.slot / 4 AND tier = new.tier AND model = new.model;
  UPDATE ledger_spend_days SET
    posted = posted + new.posted - old.posted,
    calls  = calls + new.calls - old.calls,
    tokens = tokens + new.input_tokens + new.output_tokens - old.input_tokens - old.output_tokens
  WHERE day = new.slot / 96 AND app = new.app;
END;
