"""The two threads of a database file: one writes, in groups; one reads.

Each owns its connection, opens it when first needed and again after a fault.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import filterfalse
from operator import attrgetter
from typing import Any, Generic, TypeVar

from power_loop.facts.errors import (
    PowerLoopError,
    StoreCorrupt,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from power_loop.stores.sqlite.connection import SYNCHRONOUS, Connection, set_synchronous
from power_loop.stores.sqlite.faults import typed
from power_loop.stores.sqlite.jobs import Job
from power_loop.stores.sqlite.tickets import Ticket, Worker, deliver

T = TypeVar("T")

CHECKPOINT_WHEN_IDLE = 1000
"""Pages written since the last checkpoint after which the writer checkpoints when nothing waits."""
CHECKPOINT_AT_LATEST = 4000
"""Pages after which it checkpoints although something waits."""
_REOPEN_AFTER = (StoreReadOnly, StoreUnavailable, StoreCorrupt)
"""Not after an I/O error: a commit that failed half-way is in the log, and only this connection knows that it is void.
Opening anew would recover it, after its caller was told that it failed; the next commit overwrites it.
"""

# asked of every commit: called from C, these cost a third of a generator
_GROUPED, _DURABLE, _PAGES, _TICKET = map(attrgetter, ("grouped", "durable", "pages", "ticket"))

Held = Callable[[], AbstractContextManager[None]]


class Link:
    """One connection: opened when needed, dropped after a fault or when another file took the path."""

    def __init__(self, path: str, connect: Callable[[], Connection]) -> None:
        self._path = path
        self._connect = connect
        self._db: Connection | None = None
        self._file: tuple[int, int] | None = None

    def get(self) -> Connection:
        """Return the connection; opens it if there is none. Raises what opening raises."""
        if self._db is not None and self._file != self._named():
            self.drop()
        if self._db is None:
            self._db = self._connect()
            self._file = self._named()
        return self._db

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._db is not None

    def drop(self) -> None:
        """Close the connection if there is one. Failing to close a faulty one is no news."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(Exception):
                db.close()

    def _named(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 -- once per group: Path costs more than the call
        except OSError:
            return None
        return stat.st_dev, stat.st_ino


class Writer(Worker[Job[Any]]):
    """Group commit: whatever waits goes into one transaction, with a savepoint for each job."""

    def __init__(self, path: str, connect: Callable[[], Connection], held: Held, on_end: Callable[[], None]) -> None:
        super().__init__("power-loop-sqlite-writer", path)
        self._link = Link(path, connect)
        self._held = held
        self._on_end = on_end
        self._pages = 0
        self._suspect = False

    def ensure_open(self) -> None:
        """Make the database exist, with its current schema. Called from other threads."""
        with self.gate:
            self._link.get()

    def drop(self) -> None:
        """Close the connection; the caller holds the gate. The next job opens another one."""
        if self._link.is_open:
            with suppress(StoreError, OSError), self._held():  # closing checkpoints, and so writes
                self._link.drop()

    def ask(self, question: Callable[[Connection], T]) -> T | None:
        """Read on the connection; None if it is not open or fails. The caller holds the gate."""
        if self._link.is_open:
            with suppress(Exception):
                return question(self._link.get())
        return None

    def finish(self) -> None:
        """Leave the end to the one who knows the reader and the locks."""
        self._on_end()

    def serve(self, batch: list[Job[Any]]) -> None:
        """Commit a group, then tell; checkpoint when it is time. What cannot be in a group follows it."""
        if self._suspect:
            self.drop()
        alone = list(filterfalse(_GROUPED, batch))
        group = batch if not alone else list(filter(_GROUPED, batch))
        try:
            self._commit(self._link.get(), group)
        except Exception as error:  # noqa: BLE001 -- each caller gets it, typed
            _fail_all(group, self._fault(error))
        deliver(map(_TICKET, group))
        if alone:
            self._run_alone(alone)
        if self._pages >= CHECKPOINT_WHEN_IDLE:
            self._checkpoint_in_time()

    def _run_alone(self, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            try:
                db = self._link.get()
                with self._held():
                    job.ticket.result = job.apply(db)
            except Exception as error:  # noqa: BLE001 -- the caller gets it, typed
                job.ticket.error = self._fault(error)
        deliver(map(_TICKET, jobs))

    def _fault(self, error: Exception) -> StoreError:
        fault = typed(error, self.path)
        self._suspect = isinstance(fault, _REOPEN_AFTER)
        return fault

    def _commit(self, db: Connection, batch: list[Job[Any]]) -> None:
        if not batch:
            return
        with self._held():
            if any(map(_DURABLE, batch)):
                self._transact(db, batch)
            else:
                with _without_sync(db):
                    self._transact(db, batch)
        self._pages += sum(map(_PAGES, batch))

    def _transact(self, db: Connection, batch: list[Job[Any]]) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            kept = self._apply_alone(db, batch[0]) if len(batch) == 1 else self._apply_all(db, batch)
            db.execute("COMMIT" if kept else "ROLLBACK")
        except Exception as error:  # noqa: BLE001 -- whatever it was, the outcome must be looked up
            _resolve(db, batch, self._fault(error))
        else:
            self._suspect = False

    def _apply_alone(self, db: Connection, job: Job[Any]) -> bool:
        """Apply the only job of a group; tell whether anything is to be kept."""
        try:
            job.ticket.result = job.apply(db)
        except PowerLoopError as refusal:
            job.ticket.error = refusal
            return False
        return True

    def _apply_all(self, db: Connection, batch: list[Job[Any]]) -> bool:
        """Apply each job; tell whether anything is to be kept.

        Most groups have no refusal, so the first try does without savepoints; the second gives each job its own.
        """
        with suppress(PowerLoopError):
            for job in batch:
                job.ticket.result = job.apply(db)
            return True
        db.execute("ROLLBACK")
        db.execute("BEGIN IMMEDIATE")
        for job in batch:
            try:
                with _savepoint(db):
                    job.ticket.result = job.apply(db)
            except PowerLoopError as refusal:
                job.ticket.error = refusal
            except Exception as error:
                if not db.in_transaction:  # nothing of the group is left
                    raise
                job.ticket.error = typed(error, self.path)
        return any(job.ticket.error is None for job in batch)

    def _checkpoint_in_time(self) -> None:
        if self._pages < (CHECKPOINT_WHEN_IDLE if self.idle else CHECKPOINT_AT_LATEST):
            return
        self._pages = 0
        try:
            with self._held():
                self._link.get().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except Exception as error:  # noqa: BLE001 -- the commits are safe in the log; the next job meets the fault
            self._fault(error)


class ReadJob(Generic[T]):
    """One query and the ticket of its caller."""

    __slots__ = ("query", "ticket")

    def __init__(self, query: Callable[[Connection], T]) -> None:
        self.query = query
        self.ticket: Ticket[T] = Ticket()


class Reader(Worker[ReadJob[Any]]):
    """Answers queries, each from one read transaction, on a connection that cannot write."""

    def __init__(self, path: str, connect: Callable[[], Connection]) -> None:
        super().__init__("power-loop-sqlite-reader", path)
        self._link = Link(path, connect)

    def drop(self) -> None:
        """Close the connection; the caller holds the gate. The next query opens another one."""
        self._link.drop()

    def finish(self) -> None:
        """Close the connection."""
        with self.gate:
            self.drop()

    def serve(self, batch: list[ReadJob[Any]]) -> None:
        """Answer each query."""
        for job in batch:
            try:
                job.ticket.result = _in_one_moment(self._link.get(), job.query)
            except PowerLoopError as refusal:
                job.ticket.error = refusal
            except Exception as error:  # noqa: BLE001 -- the caller gets it, typed
                job.ticket.error = typed(error, self.path)
                self.drop()
        deliver(map(_TICKET, batch))


def _in_one_moment(db: Connection, query: Callable[[Connection], T]) -> T:
    db.execute("BEGIN")
    try:
        return query(db)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


@contextmanager
def _without_sync(db: Connection) -> Iterator[None]:
    """Spare the sync, for a group of heartbeats alone."""
    set_synchronous(db, "NORMAL")
    try:
        yield
    finally:
        set_synchronous(db, SYNCHRONOUS)


@contextmanager
def _savepoint(db: Connection) -> Iterator[None]:
    db.execute("SAVEPOINT job")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK TO job")
            db.execute("RELEASE job")
        raise
    db.execute("RELEASE job")


def _resolve(db: Connection, batch: list[Job[Any]], fault: StoreError) -> None:
    """After an error whose outcome is unknown: undo what is open, then look up which jobs are there."""
    with suppress(Exception):
        if db.in_transaction:
            db.execute("ROLLBACK")
    for job in batch:
        if job.ticket.error is None and not _landed(db, job):
            job.ticket.error = fault


def _landed(db: Connection, job: Job[Any]) -> bool:
    try:
        return job.committed(db)
    except Exception:  # noqa: BLE001 -- cannot be looked up now: the caller must
        return False


def _fail_all(batch: list[Job[Any]], fault: StoreError) -> None:
    for job in batch:
        if job.ticket.error is None:
            job.ticket.error = fault
