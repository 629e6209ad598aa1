-- What decided, by the revision that records name: policy sets, files of entities, settings of the
-- score. The content is compressed; its form is the service's.
CREATE TABLE revisions (
    kind          TEXT    NOT NULL CHECK (kind IN ('policies', 'entities', 'settings')),
    revision      TEXT    NOT NULL,
    content       BLOB    NOT NULL,
    first_used    INTEGER NOT NULL,
    last_used     INTEGER NOT NULL,
    PRIMARY KEY (kind, revision)
) STRICT;
