-- Keys come to belong to clients: who rotates a key stays who they are. A key of before is the
-- first of its client, and speaks for the service of its name.
ALTER TABLE api_keys ADD COLUMN client_id TEXT NOT NULL DEFAULT '';
-- As whom its holder acts, as a service.
ALTER TABLE api_keys ADD COLUMN subject_type TEXT NOT NULL DEFAULT 'Service';
ALTER TABLE api_keys ADD COLUMN subject_id TEXT NOT NULL DEFAULT '';
-- The resource server that its holder is.
ALTER TABLE api_keys ADD COLUMN audience TEXT;
-- What of its role it may do: names apart by spaces. None: all of it.
ALTER TABLE api_keys ADD COLUMN permissions TEXT;
-- The client certificate that stands for it: a SPIFFE id, or base64url of the SHA-256 of its DER.
ALTER TABLE api_keys ADD COLUMN certificate TEXT;
-- The key that took its place, and until when this one goes on beside it.
ALTER TABLE api_keys ADD COLUMN rotated_to TEXT;
ALTER TABLE api_keys ADD COLUMN overlap_end INTEGER;
-- The key of who made it; none: somebody at the command line, or the engine itself.
ALTER TABLE api_keys ADD COLUMN created_by TEXT;

UPDATE api_keys SET client_id = key_id, subject_id = name;

CREATE INDEX api_keys_by_client ON api_keys (client_id);

-- What was done with keys and is not in the journal yet; taken out once it is.
CREATE TABLE key_acts (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    by            TEXT    NOT NULL,
    told          TEXT    NOT NULL
) STRICT;
