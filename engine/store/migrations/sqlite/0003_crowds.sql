-- What is usual for groups of subjects. The body is opaque here: `form` says how to read it.
CREATE TABLE crowds (
    crowd         INTEGER PRIMARY KEY,
    form          INTEGER NOT NULL,
    body          BLOB    NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
