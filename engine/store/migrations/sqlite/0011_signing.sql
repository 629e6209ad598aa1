-- What became of the signing keys, as far as it is on record. The keys themselves are files.
CREATE TABLE signing_key_acts (
    kid           TEXT    NOT NULL,
    act           TEXT    NOT NULL CHECK (act IN ('made', 'signs', 'retired')),
    at            INTEGER NOT NULL,
    PRIMARY KEY (kid, act)
) STRICT, WITHOUT ROWID;

-- What the engine has signed of its journal: that record `seq` stood there with this chain.
CREATE TABLE checkpoints (
    seq           INTEGER PRIMARY KEY,
    segment       TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    signed        TEXT    NOT NULL
) STRICT;
