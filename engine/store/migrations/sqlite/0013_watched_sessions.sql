-- What is known of sessions for as long as they live: their tier (A1 to A3), the scores that the
-- monitor compares, the proof that they wait for, the circumstances in which they began and were
-- last seen.
ALTER TABLE sessions ADD COLUMN tier TEXT NOT NULL DEFAULT 'standard'
    CHECK (tier IN ('standard', 'restricted', 'strict'));
ALTER TABLE sessions ADD COLUMN granted_score INTEGER CHECK (granted_score BETWEEN 0 AND 100);
ALTER TABLE sessions ADD COLUMN score INTEGER CHECK (score BETWEEN 0 AND 100);
ALTER TABLE sessions ADD COLUMN wanted_level INTEGER CHECK (wanted_level BETWEEN 0 AND 3);
ALTER TABLE sessions ADD COLUMN wanted_since INTEGER;
ALTER TABLE sessions ADD COLUMN tightened_at INTEGER;
ALTER TABLE sessions ADD COLUMN stepped_up_at INTEGER;
ALTER TABLE sessions ADD COLUMN birth_agent_version INTEGER;
ALTER TABLE sessions ADD COLUMN birth_os TEXT;
ALTER TABLE sessions ADD COLUMN birth_os_version TEXT;
ALTER TABLE sessions ADD COLUMN birth_fingerprint TEXT;
ALTER TABLE sessions ADD COLUMN seen_at INTEGER;
ALTER TABLE sessions ADD COLUMN seen_ip TEXT;
ALTER TABLE sessions ADD COLUMN seen_agent TEXT;
ALTER TABLE sessions ADD COLUMN seen_device TEXT;
ALTER TABLE sessions ADD COLUMN seen_enrolled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN seen_managed INTEGER;
ALTER TABLE sessions ADD COLUMN seen_compliant INTEGER;
ALTER TABLE sessions ADD COLUMN seen_os TEXT;
ALTER TABLE sessions ADD COLUMN seen_os_version TEXT;
ALTER TABLE sessions ADD COLUMN seen_fingerprint TEXT;
-- The place of the handle among the session's, and the handle before, as long as it may still come
-- (E3). It is weak when a step-up came between the two.
ALTER TABLE sessions ADD COLUMN handle_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN handle_alarmed INTEGER;
ALTER TABLE sessions ADD COLUMN previous_sha256 BLOB CHECK (length(previous_sha256) = 32);
ALTER TABLE sessions ADD COLUMN previous_until INTEGER;
ALTER TABLE sessions ADD COLUMN previous_is_weak INTEGER NOT NULL DEFAULT 0;

CREATE INDEX sessions_by_device ON sessions (seen_device) WHERE seen_device IS NOT NULL;
-- Those that live, in an order that a sweep can go on from.
CREATE INDEX sessions_live ON sessions (session_id)
    WHERE client_id IS NOT NULL AND ended_at IS NULL;

-- The token of another issuer that a session was opened with, by the name that it is revoked under:
-- what revokes the one ends the other.
ALTER TABLE sessions ADD COLUMN proven_by TEXT;
CREATE INDEX sessions_by_proof ON sessions (proven_by) WHERE proven_by IS NOT NULL;

-- Tokens of other issuers by which a step-up was passed, as long as they could come again.
CREATE TABLE proofs_spent (
    proof     TEXT    PRIMARY KEY,
    until_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX proofs_spent_over ON proofs_spent (until_at);

-- Revocations that another of the same name took the place of before they were in the journal.
CREATE TABLE revocations_replaced (
    number        INTEGER PRIMARY KEY,
    kind          TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    before_at     INTEGER,
    until_at      INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    subject       TEXT,
    reason        TEXT,
    journalled    INTEGER NOT NULL
) STRICT;
