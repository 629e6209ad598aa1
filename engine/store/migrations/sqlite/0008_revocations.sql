-- What was revoked before its time. The newest row of a name holds all that the earlier ones said
-- of it; it takes their place under a new number, so that whoever has read up to a number misses
-- nothing. `before_at` is there for what was revoked up to a moment. A row goes when nothing that
-- it revokes can be used any more.
CREATE TABLE revocations (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL CHECK (kind IN (
        'session', 'subject', 'family', 'client', 'issuer_before', 'jti')),
    id            TEXT    NOT NULL,
    before_at     INTEGER,
    until_at      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    subject       TEXT,
    reason        TEXT,
    journalled    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX revocations_by_name ON revocations (kind, id);
CREATE INDEX revocations_by_end ON revocations (until_at);

-- Where tokens that live stand in which status list, drained from the journal. The body is the
-- service's: what the token is held against revocations by.
CREATE TABLE token_statuses (
    list          TEXT    NOT NULL,
    place         INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    body          TEXT    NOT NULL,
    PRIMARY KEY (list, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_statuses_by_end ON token_statuses (expires_at);
