-- What was done with models: who chose which to score, to shadow, to go back from. Only ever
-- added to; which model scores now follows from all of it, in order.
CREATE TABLE model_acts (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    act           TEXT    NOT NULL CHECK (act IN ('settle', 'promote', 'rollback', 'shadow')),
    model         TEXT,
    digest        TEXT,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    reason        TEXT,
    forced        INTEGER NOT NULL DEFAULT 0,
    previous      TEXT,
    metrics       TEXT,
    journalled    INTEGER NOT NULL DEFAULT 0
) STRICT;
