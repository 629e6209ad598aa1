-- What was done with policy sets: what the folder came to hold, who published, shadowed, promoted,
-- dropped or went back. Only ever added to; which set is live follows from all of it, in order.
-- The texts are in `revisions`.
CREATE TABLE policy_acts (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    act           TEXT    NOT NULL CHECK (act IN (
        'folder', 'refused', 'published', 'shadowed', 'promoted', 'dropped', 'rolled_back')),
    revision      TEXT,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    why           TEXT,
    previous      TEXT,
    journalled    INTEGER NOT NULL DEFAULT 0
) STRICT;
