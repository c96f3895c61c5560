"""The statements of the SQLite store, by name. The schema and its migrations are files in ``stores/sql``."""

from pathlib import Path

SCHEMA_FOLDER = Path(__file__).parents[1] / "sql"
MIGRATIONS = ((1, "journal"), (2, "views"), (3, "care"))
APPLICATION_ID = 0x504C4F50
"""Marks the file as ours (``PLOP``), for this store and for tools such as ``file``."""


def schema() -> str:
    """Return the script that makes the whole schema."""
    return (SCHEMA_FOLDER / "schema.sql").read_text(encoding="utf-8")


def migration(version: int, name: str) -> str:
    """Return the script of one migration."""
    return (SCHEMA_FOLDER / f"migration_{version:04}_{name}.sql").read_text(encoding="utf-8")


def search_schema() -> str:
    """Return the script that makes the tables of the search, where they are missing."""
    return (SCHEMA_FOLDER / "search.sql").read_text(encoding="utf-8")


FIND = """
SELECT key, epoch, head_seq, head_digest, lease_owner, lease_wall_ms, lease_boot_id, lease_boot_ms
FROM sessions WHERE id = ?
"""

FIND_KEY = "SELECT key FROM sessions WHERE id = ?"

# The fence: a driver moves the head only where the epoch and the head are still the ones it holds. The first three
# statements do all of it at once for the usual case, where no command waits; the last one is for every case.
MOVE_HEAD = """
UPDATE sessions SET head_seq = ?, head_digest = ?, updated_at = ?
WHERE key = ? AND id = ? AND epoch = ? AND head_seq = ? AND head_digest = ? AND lease_owner IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM inbox WHERE session = key)
"""
END_AT_HEAD = """
UPDATE sessions SET
    head_seq = ?, head_digest = ?, updated_at = ?,
    lease_owner = NULL, lease_wall_ms = NULL, lease_boot_id = NULL, lease_boot_ms = NULL
WHERE key = ? AND id = ? AND epoch = ? AND head_seq = ? AND head_digest = ? AND lease_owner IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM inbox WHERE session = key)
"""
CLAIM_AT_HEAD = """
UPDATE sessions SET
    head_seq = ?, head_digest = ?, updated_at = ?, epoch = epoch + 1,
    lease_owner = ?, lease_wall_ms = ?, lease_boot_id = ?, lease_boot_ms = ?
WHERE key = ? AND id = ? AND epoch = ? AND head_seq = ? AND head_digest = ? AND lease_owner IS NULL
    AND NOT EXISTS (SELECT 1 FROM inbox WHERE session = key)
"""
MOVE_HEAD_AND_LEASE = """
UPDATE sessions SET
    head_seq = :new_head, head_digest = :new_digest, updated_at = coalesce(:time, updated_at), epoch = :new_epoch,
    lease_owner = :owner, lease_wall_ms = :wall_ms, lease_boot_id = :boot_id, lease_boot_ms = :boot_ms
WHERE key = :key
    AND epoch = :epoch
    AND head_seq = :head
    AND head_digest = :digest
    AND (:claims OR lease_owner IS NOT NULL)
"""

ADD_ENTRY = """
INSERT INTO entries (id, kind, version, run, round, time, body, digest, body_digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

ENTRY_DIGEST = "SELECT digest FROM entries WHERE id = ?"

CONSUME = "DELETE FROM inbox WHERE session = ? AND id = ?"
INBOX_WAITS = "SELECT 1 FROM inbox WHERE session = ? LIMIT 1"
CANCEL_WAITS = "SELECT 1 FROM inbox WHERE session = ? AND kind = 'cancel' AND run = ? LIMIT 1"

RENEW = """
UPDATE sessions SET lease_wall_ms = ?, lease_boot_id = ?, lease_boot_ms = ?
WHERE id = ? AND epoch = ? AND lease_owner IS NOT NULL
"""
INBOX_WAITS_BY_ID = "SELECT 1 FROM inbox WHERE session = (SELECT key FROM sessions WHERE id = ?) LIMIT 1"

RELEASE = """
UPDATE sessions SET lease_owner = NULL, lease_wall_ms = NULL, lease_boot_id = NULL, lease_boot_ms = NULL
WHERE id = ? AND epoch = ? AND lease_owner IS NOT NULL
"""

CREATE = """
INSERT INTO sessions (
    id, parent_id, kind, lifecycle, depth, created_at, updated_at, base_seq, base_digest, head_seq, head_digest,
    epoch, anchor_seq, anchor_digest, config, metadata
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

ENQUEUE = "INSERT INTO inbox (session, kind, run, body, created_at) VALUES (?, ?, ?, ?, ?)"
ENQUEUED = "SELECT kind, run, body, created_at FROM inbox WHERE id = ? AND session = ?"

CHILDREN = "SELECT id, lifecycle FROM sessions WHERE parent_id = ?"
BECOME_ROOT = "UPDATE sessions SET parent_id = NULL, kind = 'root' WHERE id = ?"
DELETE_ENTRIES = "DELETE FROM entries WHERE id BETWEEN ? AND ?"
DELETE_INBOX = "DELETE FROM inbox WHERE session = ?"
DELETE_SESSION = "DELETE FROM sessions WHERE key = ?"

RECORD_COLUMNS = """
SELECT id, created_at, updated_at, base_seq, base_digest, head_seq, head_digest, epoch, lease_owner, lease_wall_ms,
    lease_boot_id, lease_boot_ms, parent_id, kind, lifecycle, depth, config, metadata,
    coalesce(anchor_seq, base_seq + 1), coalesce(anchor_digest, base_digest), key
FROM sessions
"""
GET = RECORD_COLUMNS + "WHERE id = ?"
LIST = RECORD_COLUMNS + "WHERE key < ? ORDER BY key DESC LIMIT ?"
LIST_CHILDREN = RECORD_COLUMNS + "WHERE parent_id = ? AND key < ? ORDER BY key DESC LIMIT ?"

READ = """
SELECT id & 4294967295, kind, version, run, round, time, body, digest, NULL, body_digest
FROM entries WHERE id > ? AND id <= ? ORDER BY id LIMIT ?
"""
LAST = """
SELECT id & 4294967295, kind, version, run, round, time, body, digest, NULL, body_digest
FROM entries WHERE id BETWEEN ? AND ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1
"""
INBOX = "SELECT id, kind, run, body, created_at FROM inbox WHERE session = ? ORDER BY id"

# Blobs: a reference of each session, and the bytes once.
ADD_BLOB = "INSERT INTO blobs (digest, body) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
ADD_BLOB_REF = "INSERT INTO blob_refs (session, blob) VALUES (?, ?) ON CONFLICT DO NOTHING"
READ_BLOB = "SELECT body FROM blobs WHERE digest = ?"
DROP_BLOB_REF = "DELETE FROM blob_refs WHERE session = ? AND blob = ?"
FREE_BLOB = "DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM blob_refs WHERE blob = digest)"
SESSION_BLOBS = "SELECT blob FROM blob_refs WHERE session = ?"

# Care: the anchor, pruning, erasure.
MOVE_ANCHOR = "UPDATE sessions SET anchor_seq = ?, anchor_digest = ? WHERE key = ?"
BOUNDS = "SELECT base_seq, coalesce(anchor_seq, base_seq + 1) FROM sessions WHERE key = ?"
MOVE_BASE = "UPDATE sessions SET base_seq = ?, base_digest = ? WHERE key = ?"
ERASABLE = "SELECT kind, version, body, body_digest FROM entries WHERE id = ?"
REPLACE_BODY = "UPDATE entries SET body = ?, body_digest = ? WHERE id = ?"
MENTIONS = "SELECT body FROM entries WHERE id BETWEEN ? AND ? AND instr(body, 'sha256:')"
SESSION_TEXTS = "SELECT config, metadata FROM sessions WHERE key = ?"

# Search.
HAS_SEARCH = "SELECT 1 FROM sqlite_master WHERE name = 'search'"
SESSIONS_TO_INDEX = """
SELECT key FROM sessions LEFT JOIN search_progress ON session = key
WHERE head_seq > coalesce(seq, 0) AND (:key IS NULL OR key = :key) ORDER BY key DESC
"""
ALL_TO_INDEX = "SELECT key FROM sessions WHERE head_seq > base_seq AND (:key IS NULL OR key = :key) ORDER BY key DESC"
PROGRESS = """
SELECT head_seq, coalesce(seq, 0) FROM sessions LEFT JOIN search_progress ON session = key WHERE key = ?
"""
TO_INDEX = """
SELECT id, kind, body FROM entries
WHERE id > ? AND id <= ? AND body_digest IS NULL AND kind IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?
"""
INDEX = "INSERT INTO search (rowid, words) VALUES (?, ?)"
SET_PROGRESS = "INSERT INTO search_progress VALUES (?, ?) ON CONFLICT (session) DO UPDATE SET seq = excluded.seq"
UNINDEX = "DELETE FROM search WHERE rowid BETWEEN ? AND ?"
DROP_PROGRESS = "DELETE FROM search_progress WHERE session = ?"
MERGE_INDEX = "INSERT INTO search (search) VALUES ('optimize')"
SEARCH = """
SELECT s.id, e.id & 4294967295, e.kind, e.time, e.body
FROM search JOIN entries AS e ON e.id = search.rowid JOIN sessions AS s ON s.key = e.id >> 32
WHERE search MATCH ? AND search.rowid BETWEEN ? AND ? ORDER BY search.rowid DESC LIMIT ?
"""

# Statistics.
KEYS = "SELECT key, id FROM sessions ORDER BY key DESC"
ENTRY_STATS = """
SELECT count(*), coalesce(sum(length(CAST(body AS BLOB))), 0), min(time), max(time)
FROM entries WHERE id BETWEEN ? AND ?
"""
BLOB_STATS = """
SELECT count(*), coalesce(sum(length(body)), 0) FROM blob_refs JOIN blobs ON digest = blob WHERE session = ?
"""

LEASE_OWNERS = "SELECT DISTINCT lease_owner FROM sessions WHERE lease_owner IS NOT NULL"
IS_LEASE_OWNER = "SELECT 1 FROM sessions WHERE lease_owner = ? LIMIT 1"

SEQ_BITS = 32
MAX_SEQ = (1 << SEQ_BITS) - 1


def entry_id(key: int, seq: int) -> int:
    """Return the row id of entry ``seq`` of the session with this key."""
    return key << SEQ_BITS | seq


def entry_ids(key: int) -> tuple[int, int]:
    """Return the lowest and the highest row id that an entry of the session with this key can have."""
    return entry_id(key, 0), entry_id(key, MAX_SEQ)
