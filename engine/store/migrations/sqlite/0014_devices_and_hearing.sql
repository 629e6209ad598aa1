-- Enrolment of devices: since when, with which key (`jkt:…` or `x5t#S256:…`); and how old their
-- posture is, and whose word.
ALTER TABLE devices ADD COLUMN enrolled_at INTEGER;
ALTER TABLE devices ADD COLUMN key TEXT;
ALTER TABLE devices ADD COLUMN checked_at INTEGER;
ALTER TABLE devices ADD COLUMN posture_source TEXT;

CREATE INDEX devices_by_owner ON devices (owner_type, owner_id) WHERE owner_id IS NOT NULL;

-- The key that was proven when a session was last seen.
ALTER TABLE sessions ADD COLUMN seen_key TEXT;
-- Since when the device was enrolled to the session's subject, when the session came to it.
ALTER TABLE sessions ADD COLUMN seen_enrolled_at INTEGER;

-- Who takes a device out ends what is open on it.
CREATE INDEX sessions_by_birth_device ON sessions (birth_device)
    WHERE birth_device IS NOT NULL AND client_id IS NOT NULL AND ended_at IS NULL;

-- Tokens of others that were taken and not yet acted on: written with the note that they were
-- taken, so that what is acknowledged is done, whatever happens.
CREATE TABLE sets_heard (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    claims TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

-- What others said of subjects, by who said it.
CREATE TABLE heard_subjects (
    subject_type  TEXT    NOT NULL,
    subject_id    TEXT    NOT NULL,
    iss           TEXT    NOT NULL,
    disabled      INTEGER CHECK (disabled IN (0, 1)),
    disabled_at   INTEGER,
    credential_at INTEGER,
    risk          TEXT CHECK (risk IN ('LOW', 'MEDIUM', 'HIGH')),
    risk_at       INTEGER,
    PRIMARY KEY (subject_type, subject_id, iss)
) STRICT, WITHOUT ROWID;

-- What the issuer of the token that a session was opened with calls itself, and its own session:
-- what ends the one ends the other, and no more.
ALTER TABLE sessions ADD COLUMN upstream_iss TEXT;
ALTER TABLE sessions ADD COLUMN upstream_sid TEXT;
CREATE INDEX sessions_by_upstream ON sessions (upstream_iss, upstream_sid)
    WHERE upstream_sid IS NOT NULL;

-- When others last said how much was proven in a session: what comes late changes nothing.
ALTER TABLE sessions ADD COLUMN assurance_heard_at INTEGER;
