"""One SQLite file, used from one thread per object, by any number of processes. Knows nothing of memories.

Reads take no lock. Writes, checkpoints and closing happen under a ``flock`` of a file beside the database: SQLite
3.7.0 to 3.51.2 can damage a file when the checkpoint of one connection races the commit of another.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from power_loop.facts.errors import (
    StoreBusy,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreForked,
    StoreFull,
    StoreIOError,
    StoreReadOnly,
    StoreUnavailable,
)

T = TypeVar("T")

_PAUSE = 0.005
_FAULTS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (StoreFull, "There is no space left for {path}; free some."),
    sqlite3.SQLITE_BUSY: (StoreBusy, "Another program holds the write lock of {path}; retry."),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "Another program holds the write lock of {path}; retry."),
    sqlite3.SQLITE_IOERR: (StoreIOError, "The disk failed for {path}."),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "{path} cannot be written; make it and its folder writable."),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, "{path} cannot be opened; check its folder."),
    sqlite3.SQLITE_PERM: (StoreUnavailable, "{path} cannot be opened; check its rights."),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, "{path} is damaged; move it aside."),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, "{path} is not a database; choose another path."),
}


class MemoryFile:
    """The file. ``schema`` is run once on a new one; ``patience`` is how many seconds a write waits for others."""

    def __init__(
        self, path: str | Path, *, schema: Sequence[str], application_id: int, version: int, patience: float
    ) -> None:
        self.path = str(Path(path).expanduser().absolute())
        self._schema = schema
        self._marks = (application_id, version)
        self._patience = patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="power-loop-memory")
        self._db: sqlite3.Connection | None = None
        self._close: Callable[[], object] = lambda: None
        self._pid = os.getpid()
        self._closed = False

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in the thread of this file. Raises a StoreError."""
        return await self._in_thread(lambda: work(self._opened()))

    async def write(self, work: Callable[[sqlite3.Connection], T], *, erase: bool = False) -> T:
        """Run ``work`` in a transaction; durable when this returns.

        ``erase``: what ``work`` deleted leaves no bytes behind, as far as no other process is reading just now.
        Raises a StoreError, and then nothing is kept.
        """
        return await self._in_thread(lambda: self._write(work, erase=erase))

    async def close(self) -> None:
        """Close the file; doing so again does nothing."""
        if self._closed or self._pid != os.getpid():
            return
        await self._in_thread(self._shut)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, job: Callable[[], T]) -> T:
        if self._pid != os.getpid():
            raise StoreForked(f"{self.path} was opened before a fork; make a new object.", path=self.path)
        if self._closed:
            raise StoreClosed(f"{self.path} was closed.", path=self.path)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._typed, job)

    def _typed(self, job: Callable[[], T]) -> T:
        try:
            return job()
        except (sqlite3.Error, OSError) as error:
            raise _fault(error, self.path) from error

    def _shut(self) -> None:
        self._closed = True
        self._close()

    def _write(self, work: Callable[[sqlite3.Connection], T], *, erase: bool) -> T:
        db = self._opened()
        with _held(self.path, self._patience):
            result = _transaction(db, lambda: work(db))
            if erase:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return result

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            with _held(self.path, self._patience):
                self._db = self._open()
            self._close = weakref.finalize(self, _close, self._db, self.path, self._patience, self._pid)
        return self._db

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        try:
            self._check(db)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA secure_delete=ON")
            if not _pragma(db, "user_version"):
                _transaction(db, lambda: self._create(db))
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection) -> None:
        application_id, version = self._marks
        found = (_pragma(db, "application_id"), _pragma(db, "user_version"))
        empty = db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0]
        if not empty and found[0] != application_id:
            raise StoreUnavailable(f"{self.path} is a database of another program; choose another.", path=self.path)
        if not empty and found[1] > version:
            raise StoreUnavailable(f"{self.path} was written by a newer release. Upgrade power-loop.", path=self.path)

    def _create(self, db: sqlite3.Connection) -> None:
        for statement in self._schema:
            db.execute(statement)
        application_id, version = self._marks
        db.execute(f"PRAGMA application_id={application_id}")
        db.execute(f"PRAGMA user_version={version}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _transaction(db: sqlite3.Connection, work: Callable[[], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


@contextmanager
def _held(path: str, patience: float) -> Iterator[None]:
    """Hold the lock beside the file. Raises StoreBusy after ``patience`` seconds, OSError."""
    deadline = time.monotonic() + patience
    fd = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    text = f"Another process has held the write lock of {path} for {patience:g} s; it may be stopped."
                    raise StoreBusy(text, path=path) from None
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a forked child may hold a copy: closing ours would not free it
    finally:
        os.close(fd)


def _close(db: sqlite3.Connection, path: str, patience: float, pid: int) -> None:
    """Close under the lock, for the last one to close checkpoints; never in a forked child."""
    if os.getpid() == pid:
        with _held(path, patience):
            db.close()


def _fault(error: sqlite3.Error | OSError, path: str) -> StoreError:
    if isinstance(error, OSError):
        return StoreUnavailable(f"{path} cannot be opened: {error.strerror}. Check its folder.", path=path)
    if "fts5" in str(error):
        return StoreUnavailable("This Python's SQLite has no full-text search (FTS5).", path=path)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind, words = _FAULTS.get(code, (StoreError, "SQLite refused an operation on {path}."))
    return kind(f"{words.format(path=path)} ({error})", path=path)
