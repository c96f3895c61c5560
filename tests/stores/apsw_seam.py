"""The connect seam over apsw, so that a VFS of our own runs under the store class.

apsw and the standard library's SQLite must not open the same file in one process.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from power_loop.stores.sqlite.connection import Connect, Connection


@contextmanager
def as_sqlite3_error() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        failure = sqlite3.OperationalError(str(error))
        failure.sqlite_errorcode = getattr(error, "extendedresult", 1)
        raise failure from error


class ApswCursor:
    def __init__(self, rows: list[Any], changes: int, lastrowid: int) -> None:
        self._rows = iter(rows)
        self.rowcount = changes
        self.lastrowid = lastrowid

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class ApswConnection:
    def __init__(self, path: str, *, vfs: str | None, readonly: bool) -> None:
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with as_sqlite3_error():
            self.db = apsw.Connection(path, flags=flags, vfs=vfs)

    @property
    def in_transaction(self) -> bool:
        return not self.db.get_autocommit()

    def execute(self, sql: str, parameters: Any = ()) -> ApswCursor:
        with as_sqlite3_error():
            rows = list(self.db.execute(sql, parameters))
            return ApswCursor(rows, self.db.changes(), self.db.last_insert_rowid())

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> ApswCursor:
        with as_sqlite3_error():
            return ApswCursor(list(self.db.executemany(sql, parameters)), -1, 0)

    def close(self) -> None:
        with as_sqlite3_error():
            self.db.close()


def connect_apsw(vfs: str | None = None) -> Connect:
    def connect(path: str, *, readonly: bool) -> Connection:
        return ApswConnection(path, vfs=vfs, readonly=readonly)

    return connect
