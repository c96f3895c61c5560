"""The memory file: its schema, and every statement by name."""

APPLICATION_ID = 0x706C6D65
"""Marks the file as ours, see PRAGMA application_id."""
VERSION = 1
"""Of the schema, see PRAGMA user_version."""

SCHEMA = (
    """
    CREATE TABLE memories (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        digest BLOB NOT NULL,
        session_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        text TEXT NOT NULL CHECK (text <> ''),
        terms TEXT NOT NULL,
        UNIQUE (namespace, digest)
    ) STRICT
    """,
    "CREATE INDEX memories_session ON memories (session_id)",
    """
    CREATE VIRTUAL TABLE memory_index USING fts5 (
        terms, content='memories', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN
        INSERT INTO memory_index (rowid, terms) VALUES (new.id, new.terms);
    END
    """,
    """
    CREATE TRIGGER memories_forgotten AFTER DELETE ON memories BEGIN
        INSERT INTO memory_index (memory_index, rowid, terms) VALUES ('delete', old.id, old.terms);
    END
    """,
)

ADD = """
    INSERT INTO memories (namespace, digest, session_id, created_at, seen_at, text, terms)
    VALUES (:namespace, :digest, :session_id, :now, :now, :text, :terms)
    ON CONFLICT (namespace, digest) DO NOTHING
"""
SEEN = "UPDATE memories SET seen_at = :now WHERE namespace = :namespace AND digest = :digest"
SEARCH = """
    SELECT m.id, m.text, m.namespace, m.session_id, m.created_at, m.seen_at, -bm25(memory_index) AS score
    FROM memory_index JOIN memories AS m ON m.id = memory_index.rowid
    WHERE memory_index MATCH :query AND m.namespace = :namespace
    ORDER BY score DESC, m.seen_at DESC, m.id DESC
    LIMIT :limit
"""
NEWEST = """
    SELECT id, text, namespace, session_id, created_at, seen_at, 0.0 AS score
    FROM memories WHERE namespace = :namespace ORDER BY seen_at DESC, id DESC LIMIT :limit
"""
FORGET_ID = "DELETE FROM memories WHERE id = :id"
FORGET_SESSION = "DELETE FROM memories WHERE session_id = :session_id"
FORGET_NAMESPACE = "DELETE FROM memories WHERE namespace = :namespace"
MERGE_INDEX = "INSERT INTO memory_index (memory_index) VALUES ('optimize')"
