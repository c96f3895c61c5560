CREATE TABLE schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
);

CREATE TABLE sessions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    parent_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'subagent')),
    lifecycle TEXT NOT NULL CHECK (lifecycle IN ('ephemeral', 'linked', 'detached')),
    depth INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    base_digest BLOB NOT NULL,
    head_seq INTEGER NOT NULL CHECK (head_seq >= base_seq),
    head_digest BLOB NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    lease_owner TEXT,
    lease_wall_ms INTEGER,
    lease_boot_id TEXT,
    lease_boot_ms INTEGER,
    config TEXT NOT NULL,
    metadata TEXT NOT NULL
);

CREATE INDEX sessions_by_parent ON sessions (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    run INTEGER NOT NULL,
    round INTEGER NOT NULL,
    time INTEGER NOT NULL,
    body TEXT NOT NULL,
    digest BLOB NOT NULL
);

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('input', 'cancel')),
    run INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE INDEX inbox_by_session ON inbox (session, id);

CREATE TABLE blobs (
    digest BLOB PRIMARY KEY NOT NULL,
    body BLOB NOT NULL
);
