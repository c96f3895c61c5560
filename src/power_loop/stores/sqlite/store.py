"""Sessions in one SQLite file: the default store."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from power_loop.facts.clock import SYSTEM_CLOCK, Clock, Instant
from power_loop.facts.errors import ConfigError, StoreClosed, StoreForked
from power_loop.facts.journal import Entry
from power_loop.ports.store import (
    Append,
    CommandKind,
    InboxRow,
    Lease,
    NewSession,
    Renewal,
    SearchHit,
    SessionRecord,
    StoreStats,
)
from power_loop.stores import rules
from power_loop.stores.blobs import check_blobs
from power_loop.stores.sqlite import care, database, queries, searching, statistics
from power_loop.stores.sqlite.connection import Connect, Connection, connect_sqlite3
from power_loop.stores.sqlite.database import Database
from power_loop.stores.sqlite.jobs import AppendJob, CreateJob, DeleteJob, EnqueueJob, Job, ReleaseJob, RenewJob
from power_loop.stores.sqlite.searching import IndexJob
from power_loop.stores.sqlite.statistics import VacuumJob

T = TypeVar("T")

BUSY_TIMEOUT = 5.0
"""Seconds that a write waits for another process before StoreBusy."""


class SqliteStore:
    """Sessions in the SQLite file at ``path`` (``~`` is expanded). Every commit is synced to disk before it counts.

    Making one does no I/O: the first operation opens the file, and creates it and its folder where they are missing.
    Store objects of one file share their threads and their driver id within a process; the first one's settings hold.
    ``connect`` opens connections (tests pass drivers that fail); ``busy_timeout`` is in seconds. Beside the file
    appear ``-wal`` and ``-shm`` (SQLite's), ``-lock`` and ``-drivers/``. Raises ConfigError for ``":memory:"``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        connect: Connect | None = None,
        clock: Clock = SYSTEM_CLOCK,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        name = os.fspath(path)
        if not name or name == ":memory:" or name.startswith("file:"):
            raise ConfigError(f"SqliteStore needs the path of a file, not {name!r}. For memory use MemoryStore().")
        self._path = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 -- os.path touches no file
        self._connect = connect or connect_sqlite3
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._identity: str | None = None
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._database: Database | None = None
        self._closed = False

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return self._path

    @property
    def identity(self) -> str:
        """Equal for store objects that reach the same file."""
        if self._identity is None:
            self._identity = f"sqlite:{os.path.realpath(self._path)}"
        return self._identity

    @property
    def owner(self) -> str:
        """This process's driver id at this file. Raises StoreError where its lock file cannot be made."""
        return self._open().owner

    def _open(self) -> Database:
        if os.getpid() != self._pid:
            raise StoreForked(f"The store at {self._path} is a forked parent's. Open a new one here.", path=self._path)
        with self._mutex:
            if self._closed:
                raise StoreClosed(f"The store at {self._path} is closed. Open a new one.", path=self._path)
            if self._database is None:
                self._database = database.acquire(
                    os.path.realpath(self._path),
                    connect=self._connect,
                    clock=self._clock,
                    busy_timeout=self._busy_timeout,
                )
            return self._database

    async def _write(self, job: Job[T]) -> T:
        return await self._open().write(job)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        return await self._open().read(query)

    def is_live(self, lease: Lease, now: Instant) -> bool:
        """Tell whether a lease's holder may still be driving; see the port."""
        return rules.is_live(lease, now, self._open().driver.is_dead)

    async def create(self, session: NewSession) -> SessionRecord:
        """Create a session; see the port."""
        opened = self._open()
        await check_blobs(session.blobs)
        return await opened.write(CreateJob(session))

    async def get(self, session_id: str) -> SessionRecord:
        """Return a session's row; see the port."""
        return await self._read(lambda db: queries.get(db, session_id))

    async def list(
        self, *, limit: int = 100, before: str | None = None, parent_id: str | None = None
    ) -> Sequence[SessionRecord]:
        """Return sessions, newest first; see the port."""
        return await self._read(lambda db: queries.page(db, limit, before, parent_id))

    async def read(self, session_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        """Return entries with ``seq > after``; see the port."""
        return await self._read(lambda db: queries.read(db, session_id, after, limit))

    async def load(self, session_id: str, *, whole: bool = False) -> tuple[SessionRecord, Sequence[Entry]]:
        """Return row and entries from the anchor on, or all; see the port."""
        return await self._read(lambda db: queries.load(db, session_id, whole=whole))

    async def last(self, session_id: str, kinds: Sequence[str]) -> Entry | None:
        """Return the newest entry of one of these kinds; see the port."""
        return await self._read(lambda db: queries.last(db, session_id, kinds))

    async def append(self, append: Append) -> None:
        """Commit; see the port."""
        opened = self._open()
        if append.blobs:
            await check_blobs(append.blobs)
        await opened.write(AppendJob(append, self._path, opened.driver.is_dead, opened.keys))

    async def read_blob(self, blob: str) -> bytes:
        """Return the bytes at a content address; see the port."""
        return await self._read(lambda db: care.read_blob(db, blob, self._path))

    async def list_blobs(self, session_id: str) -> frozenset[str]:
        """Return the blobs that a session refers to; see the port."""
        return await self._read(lambda db: care.list_blobs(db, session_id))

    async def renew(self, session_id: str, epoch: int, until: Instant) -> Renewal:
        """Extend the lease while the epoch is ours; see the port."""
        return await self._write(RenewJob(session_id, epoch, until))

    async def release(self, session_id: str, epoch: int) -> bool:
        """Free the lease without an entry; see the port."""
        return await self._write(ReleaseJob(session_id, epoch))

    async def enqueue(self, session_id: str, kind: CommandKind, body: str, *, run: int = 0, now: int) -> int:
        """Add a command to the inbox; see the port."""
        return await self._write(EnqueueJob(session_id, kind, body, run, now))

    async def inbox(self, session_id: str) -> Sequence[InboxRow]:
        """Return the unconsumed commands, oldest first; see the port."""
        return await self._read(lambda db: queries.inbox(db, session_id))

    async def delete(self, session_id: str, *, cascade: bool = True, now: Instant) -> int:
        """Delete a session; see the port."""
        opened = self._open()
        return await opened.write(DeleteJob(session_id, now, opened.driver.is_dead, cascade=cascade))

    async def search(self, query: str, *, session_id: str | None = None, limit: int = 20) -> Sequence[SearchHit]:
        """Find entries by words; see the port. The first search of a database indexes all of it, in small commits."""
        keys = await self._read(lambda db: searching.to_index(db, session_id))
        while keys:
            done = await self._write(IndexJob(keys))
            keys = keys[done:]
        return await self._read(lambda db: searching.search(db, query, session_id, limit))

    async def stats(self, session_id: str | None = None) -> StoreStats:
        """Measure one session, or all, each as of its own moment; see the port."""
        keys, total, free = await self._read(lambda db: statistics.begin(db, session_id))
        measured = [await self._read(partial(statistics.measure, key=key, session_id=name)) for key, name in keys]
        return StoreStats(tuple(measured), total, free)

    async def vacuum(self) -> int:
        """Give back the space of what was deleted; see the port. Other processes' writes get StoreBusy meanwhile."""
        return await self._write(VacuumJob(self._path))

    async def close(self) -> None:
        """Finish what is queued; the last store of a file also ends its threads and lets go of its locks."""
        with self._mutex:
            self._closed = True
            opened, self._database = self._database, None
        if opened is not None and os.getpid() == self._pid and database.release(opened):
            await opened.close()
