"""Full-text search: the index follows the journals only when somebody searches, in small commits.

The index holds its words itself (not by reference to the entries), so that SQLite can take words out again without
being told them: what a release indexed, every later one can remove.
"""

from collections.abc import Sequence
from typing import Any

from power_loop.facts import jsontext
from power_loop.facts.words import SEARCHED, excerpt, phrases_of, searchable, words_of
from power_loop.ports.store import SearchHit
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connection, run_script
from power_loop.stores.sqlite.jobs import Job
from power_loop.stores.sqlite.queries import find_key

_ENTRIES_AT_ONCE = 500
_CHARACTERS_AT_ONCE = 200_000
"""After so much text a commit ends, so that appends need not wait longer."""
_READ_AT_ONCE = 16
_PAGES = 100
_ALL = (0, (1 << 63) - 1)
_KINDS = jsontext.encode(sorted(SEARCHED))


def to_index(db: Connection, session_id: str | None) -> list[int]:
    """Return the keys of sessions with entries that are not indexed. Raises SessionNotFoundError."""
    key = None if session_id is None else find_key(db, session_id)
    indexed = db.execute(sql.HAS_SEARCH).fetchone() is not None
    rows = db.execute(sql.SESSIONS_TO_INDEX if indexed else sql.ALL_TO_INDEX, {"key": key})
    return [found for (found,) in rows.fetchall()]


class IndexJob(Job[int]):
    """Index what is new of some sessions, as far as one commit may go; returns how many sessions are done."""

    durable = False

    def __init__(self, keys: Sequence[int]) -> None:
        self._keys = keys

    def apply(self, db: Connection) -> int:
        """Index session by session; the progress of each is looked up here, where nobody else moves it."""
        run_script(db, sql.search_schema())
        entries, characters = _ENTRIES_AT_ONCE, _CHARACTERS_AT_ONCE
        for done, key in enumerate(self._keys):
            if entries <= 0 or characters <= 0:
                return done
            row = db.execute(sql.PROGRESS, (key,)).fetchone()
            if row is None:  # deleted meanwhile
                continue
            head_seq, seq = row
            while seq < head_seq and entries > 0 and characters > 0:
                seq, read, length = _index_some(db, key, seq, head_seq, min(entries, _READ_AT_ONCE))
                entries, characters = entries - read - 1, characters - length
            db.execute(sql.SET_PROGRESS, (key, seq))
            if seq < head_seq:
                return done
        return len(self._keys)

    @property
    def pages(self) -> int:
        """About the text of one commit, its words and their places."""
        return _PAGES


def _index_some(db: Connection, key: int, seq: int, head_seq: int, limit: int) -> tuple[int, int, int]:
    """Index at most ``limit`` entries; return how far it came, the entries and the characters read."""
    bounds = (sql.entry_id(key, seq), sql.entry_id(key, head_seq))
    found: list[Any] = db.execute(sql.TO_INDEX, (*bounds, _KINDS, limit)).fetchall()
    words = [(entry, " ".join(words_of(searchable(kind, body)))) for entry, kind, body in found]
    db.executemany(sql.INDEX, [row for row in words if row[1]])
    reached = head_seq if len(found) < limit else found[-1][0] & sql.MAX_SEQ
    return reached, len(found), sum(len(body) for _, _, body in found)


def search(db: Connection, query: str, session_id: str | None, limit: int) -> list[SearchHit]:
    """Find entries by words in the index. Raises SessionNotFoundError."""
    bounds = _ALL if session_id is None else sql.entry_ids(find_key(db, session_id))
    match = " AND ".join(f'"{phrase}" *' for phrase in phrases_of(query))
    if not match or db.execute(sql.HAS_SEARCH).fetchone() is None:
        return []
    rows = db.execute(sql.SEARCH, (match, *bounds, max(limit, 0))).fetchall()
    return [
        SearchHit(name, seq, kind, time, excerpt(searchable(kind, body), query)) for name, seq, kind, time, body in rows
    ]
