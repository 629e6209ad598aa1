-- How far the journal's oldest segments were removed when their time was over, and what the chain
-- was there. At most one row.
CREATE TABLE removed (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq           INTEGER NOT NULL,
    chain         BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;
