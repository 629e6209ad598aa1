-- Families of refresh tokens: a row each, whatever number of times it was rotated. Of tokens only
-- SHA-256 is kept. `birth` is opaque here: its form is the service's.
CREATE TABLE refresh_families (
    family_id       TEXT    PRIMARY KEY,
    client_id       TEXT    NOT NULL,
    subject_type    TEXT    NOT NULL,
    subject_id      TEXT    NOT NULL,
    session_id      TEXT,
    audience        TEXT    NOT NULL,
    scope           TEXT    NOT NULL,
    jkt             TEXT,
    x5t_s256        TEXT,
    birth           TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    generation      INTEGER NOT NULL CHECK (generation >= 0),
    current_sha256  BLOB    NOT NULL CHECK (length(current_sha256) = 32),
    previous_sha256 BLOB    CHECK (length(previous_sha256) = 32),
    rotated_at      INTEGER,
    repeats         INTEGER NOT NULL DEFAULT 0,
    idle_expires_at INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    revoked_at      INTEGER,
    revoked_why     TEXT
) STRICT;

CREATE INDEX refresh_families_by_session ON refresh_families (session_id)
    WHERE session_id IS NOT NULL;
CREATE INDEX refresh_families_by_subject ON refresh_families (subject_type, subject_id);
CREATE INDEX refresh_families_by_client ON refresh_families (client_id);
CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_at);

-- Sessions that were opened with the engine have a client, a handle (SHA-256 of it) and expiries;
-- callers' own have none of these.
ALTER TABLE sessions ADD COLUMN client_id TEXT;
ALTER TABLE sessions ADD COLUMN handle_sha256 BLOB CHECK (length(handle_sha256) = 32);
ALTER TABLE sessions ADD COLUMN handle_at INTEGER;
ALTER TABLE sessions ADD COLUMN expires_at INTEGER;
ALTER TABLE sessions ADD COLUMN idle_seconds INTEGER;
ALTER TABLE sessions ADD COLUMN accesses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN ended_why TEXT;

CREATE UNIQUE INDEX sessions_by_handle ON sessions (handle_sha256)
    WHERE handle_sha256 IS NOT NULL;
-- Pages of them, the newest first: of a client, of a subject, all.
CREATE INDEX sessions_of_client ON sessions (client_id, born_at, session_id)
    WHERE client_id IS NOT NULL;
CREATE INDEX sessions_of_subject ON sessions (subject_type, subject_id, born_at, session_id)
    WHERE client_id IS NOT NULL;
CREATE INDEX sessions_opened ON sessions (born_at, session_id) WHERE client_id IS NOT NULL;
