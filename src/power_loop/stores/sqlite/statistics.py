"""How much there is, and giving back what is no longer used."""

from power_loop.facts.errors import StoreBusy
from power_loop.ports.store import SessionStats
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connection
from power_loop.stores.sqlite.jobs import Job
from power_loop.stores.sqlite.queries import find_key


def begin(db: Connection, session_id: str | None) -> tuple[list[tuple[int, str]], int, int]:
    """Return keys and ids of the sessions to measure, the database's bytes, and the free ones of them.

    Raises SessionNotFoundError.
    """
    keys = db.execute(sql.KEYS).fetchall() if session_id is None else [(find_key(db, session_id), session_id)]
    page = _pragma(db, "page_size")
    return keys, _pragma(db, "page_count") * page, _pragma(db, "freelist_count") * page


def measure(db: Connection, *, key: int, session_id: str) -> SessionStats:
    """Measure one session; one that was deleted meanwhile has nothing."""
    entries, entry_bytes, oldest, newest = db.execute(sql.ENTRY_STATS, sql.entry_ids(key)).fetchone()
    blobs, blob_bytes = db.execute(sql.BLOB_STATS, (key,)).fetchone()
    return SessionStats(session_id, entries, entry_bytes, blobs, blob_bytes, oldest, newest)


def _pragma(db: Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _bytes(db: Connection) -> int:
    return _pragma(db, "page_count") * _pragma(db, "page_size")


class VacuumJob(Job[int]):
    """Write the database anew, without gaps, and empty the log."""

    grouped = False

    def __init__(self, path: str) -> None:
        self._path = path

    def apply(self, db: Connection) -> int:
        """Rewrite; return the bytes given back. Raises StoreBusy where a reader keeps the log from being emptied."""
        before = _bytes(db)
        if db.execute(sql.HAS_SEARCH).fetchone():
            db.execute(sql.MERGE_INDEX)
        db.execute("VACUUM")
        if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise StoreBusy(
                f"{self._path} was written anew, but somebody who reads keeps its log from being emptied. Retry.",
                path=self._path,
            )
        return max(before - _bytes(db), 0)
