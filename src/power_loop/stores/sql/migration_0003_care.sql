ALTER TABLE sessions ADD COLUMN anchor_seq INTEGER;

ALTER TABLE sessions ADD COLUMN anchor_digest BLOB;

ALTER TABLE entries ADD COLUMN body_digest BLOB;

CREATE TABLE blob_refs (
    session INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (session, blob)
) WITHOUT ROWID;

CREATE INDEX blob_refs_by_blob ON blob_refs (blob);
