-- The rollout's state, since when it is in it and why; `target` is where an advance under way leads.
ALTER TABLE rollout ADD COLUMN phase      TEXT    NOT NULL DEFAULT 'holding';
ALTER TABLE rollout ADD COLUMN since_ns   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout ADD COLUMN actor      TEXT    NOT NULL DEFAULT '';
ALTER TABLE rollout ADD COLUMN why        TEXT    NOT NULL DEFAULT '';
ALTER TABLE rollout ADD COLUMN target     INTEGER;

-- What happened and what state it led to; a row whose percentage did not change is a change of state alone.
ALTER TABLE rollout_history ADD COLUMN event TEXT NOT NULL DEFAULT 'set';
ALTER TABLE rollout_history ADD COLUMN phase TEXT NOT NULL DEFAULT 'holding';

-- What was gathered since the rollout last moved, so that a restart forgets none of it: one row at most.
CREATE TABLE rollout_progress (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    at_ns    INTEGER NOT NULL,
    progress BLOB    NOT NULL
) STRICT;
