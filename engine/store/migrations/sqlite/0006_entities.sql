-- What was done with single entities: who stored which, and who took it out again (no body). Only
-- ever added to, so that the entities of any moment can be put together again: with each change
-- the revision of the directory is that of the file and this number.
CREATE TABLE entity_changes (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    body          TEXT,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    why           TEXT
) STRICT;

CREATE INDEX entity_changes_by_entity ON entity_changes (kind, id, number);

-- Up to which change the journal has them, or a little further. At most one row.
CREATE TABLE entity_changes_journalled (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    number        INTEGER NOT NULL
) STRICT;
