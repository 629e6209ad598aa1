-- Streams of shared signals (SSF 1.0 §8.1.1): who hears what, and how. The header that is sent with
-- each token is the receiver's secret, sealed when a key-encryption key is set.
CREATE TABLE ssf_streams (
    stream_id        TEXT    PRIMARY KEY,
    client_id        TEXT    NOT NULL,
    aud              TEXT    NOT NULL,
    events_requested TEXT    NOT NULL,
    endpoint_url     TEXT,
    authorization    BLOB,
    description      TEXT,
    status           TEXT    NOT NULL CHECK (status IN ('enabled', 'paused', 'disabled')),
    reason           TEXT,
    subjects         TEXT    NOT NULL CHECK (subjects IN ('all', 'none')),
    verified_at      INTEGER,
    created_at       INTEGER NOT NULL,
    active_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX ssf_streams_by_client ON ssf_streams (client_id);

-- Subjects that a stream was told to hear of (where it hears of nobody else), or not to.
CREATE TABLE ssf_subjects (
    stream_id TEXT    NOT NULL REFERENCES ssf_streams (stream_id) ON DELETE CASCADE,
    subject   TEXT    NOT NULL,
    is_added  INTEGER NOT NULL,
    PRIMARY KEY (stream_id, subject)
) STRICT, WITHOUT ROWID;

-- What happened that others may have to know, written with the change itself in one transaction, and
-- removed when it has been handed on to streams and alert channels (ssf_outbox, alert_outbox).
CREATE TABLE security_events (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    subject_type TEXT,
    subject_id   TEXT,
    session_id   TEXT,
    device_id    TEXT,
    initiator    TEXT    NOT NULL CHECK (initiator IN ('admin', 'user', 'policy', 'system')),
    done_by      TEXT    NOT NULL,
    why          TEXT    NOT NULL,
    body         TEXT
) STRICT;

-- What each stream still has to be told, in the order that it happened. Unsigned: each delivery signs with the key of that moment.
CREATE TABLE ssf_outbox (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id TEXT    NOT NULL REFERENCES ssf_streams (stream_id) ON DELETE CASCADE,
    jti       TEXT    NOT NULL,
    claims    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    -- Above 0: it tells that so many before it were let go.
    lost      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX ssf_outbox_by_stream ON ssf_outbox (stream_id, number);
CREATE UNIQUE INDEX ssf_outbox_by_jti ON ssf_outbox (stream_id, jti);

-- What each alert channel still has to be told, in the order that it happened. Channels are named
-- by the settings.
CREATE TABLE alert_outbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT    NOT NULL,
    body    TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX alert_outbox_by_channel ON alert_outbox (channel, number);

-- Tokens that were taken from other transmitters, so that what is delivered again is done once.
CREATE TABLE sets_received (
    iss TEXT    NOT NULL,
    jti TEXT    NOT NULL,
    at  INTEGER NOT NULL,
    PRIMARY KEY (iss, jti)
) STRICT, WITHOUT ROWID;

CREATE INDEX sets_received_by_time ON sets_received (at);
