"""One database file in one process: its threads and locks, shared by all store objects of the file.

Before a ``fork`` every connection is closed, since SQLite's own bookkeeping must not be inherited. The parent opens
them again when needed.
"""

import atexit
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from power_loop.facts.clock import Clock
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connect, Connection, open_reader, open_writer
from power_loop.stores.sqlite.faults import typed
from power_loop.stores.sqlite.jobs import Job
from power_loop.stores.sqlite.locks import Driver, Hold, Sidecar
from power_loop.stores.sqlite.tickets import Ticket
from power_loop.stores.sqlite.workers import Reader, ReadJob, Writer

T = TypeVar("T")

_PATIENCE_AT_THE_END = 10.0
"""Seconds that closing waits for a thread."""


class Database:
    """The writer, the reader, the driver id and the sidecar lock of one file."""

    def __init__(self, path: str, *, connect: Connect, clock: Clock, busy_timeout: float) -> None:
        self.path = path
        self.users = 0
        self.keys: dict[str, int] = {}
        self.driver = Driver(Path(f"{path}-drivers"))
        self._sidecar = Sidecar(Path(f"{path}-lock"), database=path, patience=busy_timeout)
        self._connect, self._clock, self._busy_timeout = connect, clock, busy_timeout
        self._writer = Writer(path, self._open_writer, self._held, self._end)
        self._reader = Reader(path, self._open_reader)

    def _held(self) -> AbstractContextManager[None]:
        return Hold(self._sidecar, self.driver.known_owner or f"process {os.getpid()}")

    def _open_writer(self) -> Connection:
        db = open_writer(self.path, self._connect, self._busy_timeout, self._clock, self._held)
        strangers = self.driver.strangers()
        if strangers:
            self.driver.collect(strangers, {owner for (owner,) in db.execute(sql.LEASE_OWNERS).fetchall()})
        return db

    def _open_reader(self) -> Connection:
        self._writer.ensure_open()  # a reader cannot make the database, nor the log's shared memory
        return open_reader(self.path, self._connect, self._busy_timeout)

    @property
    def owner(self) -> str:
        """This process's driver id. Raises StoreError where its lock file cannot be made."""
        try:
            return self.driver.known_owner or self.driver.owner
        except OSError as error:
            raise typed(error, str(self.driver.folder)) from error

    def write(self, job: Job[T]) -> Coroutine[Any, Any, T]:
        """Have a job committed; awaiting what this returns gives its result."""
        job.ticket = Ticket()
        self._writer.submit(job)
        return job.ticket.wait()

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Have a query answered from one read transaction."""
        job = ReadJob(query)
        self._reader.submit(job)
        return await job.ticket.wait()

    async def close(self) -> None:
        """Finish what is queued, then let go of everything."""
        ended = Ticket[None]()
        self._reader.stop()
        self._writer.stop(ended)
        await ended.wait()

    def _end(self) -> None:
        self._reader.join(_PATIENCE_AT_THE_END)  # so that the writer closes last, and leaves one file
        with self._writer.gate:
            owner = self.driver.known_owner
            unnamed = self._writer.ask(lambda db: not db.execute(sql.IS_LEASE_OWNER, (owner,)).fetchone())
            self._writer.drop()
            self.driver.close(remove=bool(unnamed))
            self._sidecar.close()
        _ALIVE.discard(self)

    def end_now(self) -> None:
        """Close without an event loop."""
        self._reader.stop()
        self._writer.stop()
        self._writer.join(_PATIENCE_AT_THE_END)

    def pause(self) -> None:
        """Close the connections and keep the threads from opening others."""
        self._reader.gate.acquire()
        self._reader.drop()
        self._writer.gate.acquire()
        self._writer.drop()

    def resume(self) -> None:
        """Let the threads go on."""
        self._writer.gate.release()
        self._reader.gate.release()

    def abandon(self) -> None:
        """Close what a forked child has inherited; it keeps no lock of its parent's."""
        self.driver.abandon()
        self._sidecar.close()


_REGISTRY = threading.Lock()
_SHARED: dict[tuple[str, Connect], Database] = {}
_ALIVE: set[Database] = set()
_PAUSED: list[Database] = []


def acquire(path: str, *, connect: Connect, clock: Clock, busy_timeout: float) -> Database:
    """Return the database at this real path, shared with whoever has it open; ``release`` it once."""
    with _REGISTRY:
        database = _SHARED.get((path, connect))
        if database is None:
            database = Database(path, connect=connect, clock=clock, busy_timeout=busy_timeout)
            _SHARED[path, connect] = database
            _ALIVE.add(database)
        database.users += 1
        return database


def release(database: Database) -> bool:
    """Give a database back; True if nobody else uses it, so that it must be closed now."""
    with _REGISTRY:
        database.users -= 1
        if database.users:
            return False
        for key in [key for key, shared in _SHARED.items() if shared is database]:
            del _SHARED[key]
        return True


def _before_fork() -> None:
    _REGISTRY.acquire()
    _PAUSED[:] = _ALIVE
    for database in _PAUSED:
        database.pause()


def _after_fork_in_parent() -> None:
    for database in _PAUSED:
        database.resume()
    _PAUSED.clear()
    _REGISTRY.release()


def _after_fork_in_child() -> None:
    for database in _PAUSED:
        database.abandon()
    _PAUSED.clear()
    _SHARED.clear()
    _ALIVE.clear()
    _REGISTRY.release()


def _at_exit() -> None:
    for database in list(_ALIVE):
        database.end_now()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
