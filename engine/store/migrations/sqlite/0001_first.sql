-- Times are milliseconds since the Unix epoch, UTC.

CREATE TABLE api_keys (
    key_id        TEXT    PRIMARY KEY,
    secret_sha256 BLOB    NOT NULL CHECK (length(secret_sha256) = 32),
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    last_used_at  INTEGER,
    revoked_at    INTEGER
) STRICT;

CREATE TABLE devices (
    device_id     TEXT    PRIMARY KEY,
    owner_type    TEXT,
    owner_id      TEXT,
    trust         INTEGER CHECK (trust BETWEEN 0 AND 100),
    managed       INTEGER,
    compliant     INTEGER,
    os            TEXT,
    os_version    TEXT,
    revoked       INTEGER NOT NULL DEFAULT 0,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    session_id    TEXT    PRIMARY KEY,
    subject_type  TEXT    NOT NULL,
    subject_id    TEXT    NOT NULL,
    born_at       INTEGER NOT NULL,
    birth_ip      TEXT,
    birth_country TEXT,
    birth_asn     INTEGER,
    birth_agent   TEXT,
    birth_device  TEXT,
    last_seen     INTEGER NOT NULL,
    level         INTEGER NOT NULL DEFAULT 0,
    level_at      INTEGER,
    challenge_at  INTEGER,
    mfa_at        INTEGER,
    ended_at      INTEGER
) STRICT;

CREATE INDEX sessions_by_subject ON sessions (subject_type, subject_id);
CREATE INDEX sessions_by_last_seen ON sessions (last_seen);

-- The body is opaque here: `form` says how to read it.
CREATE TABLE profiles (
    subject_type  TEXT    NOT NULL,
    subject_id    TEXT    NOT NULL,
    form          INTEGER NOT NULL,
    body          BLOB    NOT NULL,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (subject_type, subject_id)
) STRICT, WITHOUT ROWID;

-- Drained from the journal, in its order: what a record is looked up by, and where it stands.
-- The record itself is in the journal, once.
CREATE TABLE decisions (
    seq           INTEGER PRIMARY KEY,
    decision_id   TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    subject_type  TEXT    NOT NULL,
    subject_id    TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    resource_type TEXT    NOT NULL,
    resource_id   TEXT    NOT NULL,
    outcome       TEXT    NOT NULL,
    score         INTEGER NOT NULL,
    segment       TEXT    NOT NULL,
    offset        INTEGER NOT NULL,
    length        INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX decisions_by_id ON decisions (decision_id);
CREATE INDEX decisions_by_subject ON decisions (subject_type, subject_id, at);

-- How far the journal is drained, and what the chain was there. One row.
CREATE TABLE drained (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    segment       TEXT    NOT NULL,
    offset        INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    chain         BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;
