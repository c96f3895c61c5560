"""Opening a database: the connect seam, the settings that durability rests on, and the schema."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from power_loop.facts.clock import Clock
from power_loop.facts.errors import JournalTooNew, StoreUnavailable
from power_loop.stores.sqlite import sql

SYNCHRONOUS = "FULL"
"""NORMAL loses acknowledged commits when the power fails."""
SYNCHRONOUS_CODE = 2
_WAL_BYTES_KEPT = 64 << 20


class Cursor(Protocol):
    """What the store needs of a cursor."""

    @property
    def rowcount(self) -> int:
        """Rows that the statement changed."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """Row id of the last insert."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401 -- rows are tuples of SQLite values
        """Return the next row or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What the store needs of a connection: autocommit, usable from any thread.

    Failures are exceptions with ``sqlite_errorcode``, as those of the standard library have.
    """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, sql: str, parameters: Any = ..., /) -> Cursor:  # noqa: ANN401 -- sequence or mapping
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run one statement for each row."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class Connect(Protocol):
    """The seam: how a file is opened."""

    def __call__(self, path: str, *, readonly: bool) -> Connection:
        """Open the file at ``path``, created unless ``readonly``, which means ``mode=ro``."""
        ...


Held: TypeAlias = Callable[[], AbstractContextManager[None]]


def connect_sqlite3(path: str, *, readonly: bool) -> Connection:
    """Open with the standard library's SQLite."""
    uri = f"{Path(path).as_uri()}?mode={'ro' if readonly else 'rwc'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably: a database whose folder vanishes is lost too."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        fd = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def open_reader(path: str, connect: Connect, busy_timeout: float) -> Connection:
    """Open for reading. ``mode=ro``: a plain reader that closes last would checkpoint."""
    db = connect(path, readonly=True)
    try:
        db.execute(f"PRAGMA busy_timeout={round(busy_timeout * 1000)}")
    except BaseException:
        db.close()
        raise
    return db


def open_writer(path: str, connect: Connect, busy_timeout: float, clock: Clock, held: Held) -> Connection:
    """Open for writing: WAL, FULL, current schema. ``held`` guards what writes.

    Raises StoreUnavailable, JournalTooNew, and whatever the connection and the operating system raise.
    """
    make_folder(Path(path).parent)
    db = connect(path, readonly=False)
    try:
        db.execute(f"PRAGMA busy_timeout={round(busy_timeout * 1000)}")
        db.execute("PRAGMA wal_autocheckpoint=0")
        db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_KEPT}")
        db.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten, whatever SQLite was built with
        if _pragma(db, "journal_mode") != "wal" or _missing(db, path):
            with held():
                _make_wal(db, path)
                _migrate(db, path, clock)
        set_synchronous(db, SYNCHRONOUS)
        _check_synchronous(db, path)
    except BaseException:
        with suppress(Exception), held():  # closing checkpoints, and so writes
            db.close()
        raise
    return db


def set_synchronous(db: Connection, level: str) -> None:
    """Set how a commit is synced; only outside a transaction."""
    db.execute(f"PRAGMA synchronous={level}")


def _check_synchronous(db: Connection, path: str) -> None:
    if _pragma(db, "synchronous") != SYNCHRONOUS_CODE:
        raise StoreUnavailable(f"{path}: SQLite did not accept synchronous=FULL; nothing is safe here.", path=path)


def _pragma(db: Connection, name: str) -> object:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def _make_wal(db: Connection, path: str) -> None:
    if _is_foreign(db):
        raise StoreUnavailable(
            f"{path} is a database of another program, or of a release without a journal. Choose another path.",
            path=path,
        )
    mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailable(f"{path}: SQLite cannot use WAL here (got {mode!r}). Use a local disk.", path=path)


def _tables(db: Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _is_foreign(db: Connection) -> bool:
    tables = _tables(db)
    return bool(tables) and "schema_migrations" not in tables


def _missing(db: Connection, path: str) -> list[tuple[int, str]]:
    """Return the migrations that this database lacks."""
    if "schema_migrations" not in _tables(db):
        return list(sql.MIGRATIONS)
    applied = {version for (version,) in db.execute("SELECT version FROM schema_migrations")}
    newest = sql.MIGRATIONS[-1][0]
    if applied and max(applied) > newest:
        raise JournalTooNew(f"{path} was written by a newer release (schema {max(applied)}). Upgrade.", path=path)
    return [(version, name) for version, name in sql.MIGRATIONS if version not in applied]


def _migrate(db: Connection, path: str, clock: Clock) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        new = not _tables(db)
        missing = _missing(db, path)
        scripts = [sql.schema()] if new else [sql.migration(version, name) for version, name in missing]
        for script in scripts:
            run_script(db, script)
        if new:
            db.execute(f"PRAGMA application_id={sql.APPLICATION_ID}")
        applied_at = clock.now().wall_ms
        rows = [(version, name, applied_at) for version, name in missing]
        db.executemany("INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def run_script(db: Connection, script: str) -> None:
    """Run statements one by one, inside whatever transaction is open."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            db.execute(pending)
            pending = ""
