"""What SQLite and the operating system report, as the kernel's typed errors with path and next action."""

import errno
import sqlite3

from power_loop.facts.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreIOError,
    StoreReadOnly,
    StoreUnavailable,
)

FULL = "There is no space left for {path}. Free some and continue: everything acknowledged is intact."
BUSY = "Another program holds the write lock of {path}. Retry, or look which one keeps a transaction open."
IO_ERROR = "The disk or file system failed for {path}. Check it and continue: everything acknowledged is intact."
READ_ONLY = "{path} cannot be written. Make the file, its folder and the file system writable, or choose another path."
UNAVAILABLE = "{path} cannot be opened. Check that the folder exists, is one and may be entered, and retry."
CORRUPT = "{path} is damaged or not a database of this program. Move it aside and restore a backup."
UNEXPECTED = "SQLite refused an operation on {path}."

_BY_SQLITE_CODE: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_FULL: (StoreFull, FULL),
    sqlite3.SQLITE_BUSY: (StoreBusy, BUSY),
    sqlite3.SQLITE_LOCKED: (StoreBusy, BUSY),
    sqlite3.SQLITE_IOERR: (StoreIOError, IO_ERROR),
    sqlite3.SQLITE_NOMEM: (StoreIOError, IO_ERROR),
    sqlite3.SQLITE_PROTOCOL: (StoreBusy, BUSY),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, READ_ONLY),
    sqlite3.SQLITE_PERM: (StoreUnavailable, UNAVAILABLE),
    sqlite3.SQLITE_AUTH: (StoreUnavailable, UNAVAILABLE),
    sqlite3.SQLITE_CANTOPEN: (StoreUnavailable, UNAVAILABLE),
    sqlite3.SQLITE_CORRUPT: (StoreCorrupt, CORRUPT),
    sqlite3.SQLITE_NOTADB: (StoreCorrupt, CORRUPT),
    sqlite3.SQLITE_CONSTRAINT: (StoreCorrupt, CORRUPT),
}
_BY_ERRNO: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOSPC: (StoreFull, FULL),
    errno.EDQUOT: (StoreFull, FULL),
    errno.EFBIG: (StoreFull, FULL),
    errno.EIO: (StoreIOError, IO_ERROR),
    errno.EROFS: (StoreReadOnly, READ_ONLY),
    errno.EACCES: (StoreReadOnly, READ_ONLY),
    errno.EPERM: (StoreReadOnly, READ_ONLY),
}


def typed(error: Exception, path: str) -> StoreError:
    """Return the typed error for what a connection or the operating system raised."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError):
        kind, text = _BY_ERRNO.get(error.errno or 0, (StoreUnavailable, UNAVAILABLE))
    else:
        kind, text = _of_sqlite(error)
    fault = kind(f"{text.format(path=path)} ({error})", path=path)
    fault.__cause__ = error
    return fault


def _of_sqlite(error: Exception) -> tuple[type[StoreError], str]:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _BY_SQLITE_CODE.get(code & 0xFF, (StoreError, UNEXPECTED))
    undecodable = isinstance(error, UnicodeError | ValueError) or "decode" in str(error)
    return (StoreCorrupt, CORRUPT) if undecodable else (StoreError, UNEXPECTED)
