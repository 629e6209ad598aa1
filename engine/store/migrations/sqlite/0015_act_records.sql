-- What the monitor did and is not in the journal yet: written with the act itself, in one transaction,
-- and removed when it is on record.
CREATE TABLE act_records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    record TEXT    NOT NULL
) STRICT;
