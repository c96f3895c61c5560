"""Errors of storage, and the signals by which a store tells the engine to look again."""

from typing import Any

from power_loop.facts.errors.base import PowerLoopError


class StoreError(PowerLoopError):
    """The store could not do it. ``path`` says where. Everything acknowledged is intact."""

    code = "store_error"

    def __init__(self, message: str, *, path: str = "", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, path=path, **details)
        self.path = path


class StoreFull(StoreError):
    """No space left; nothing of the refused commit was kept."""

    code = "store_full"


class StoreBusy(StoreError):
    """Another process holds the write lock; ``holder`` says which, where known."""

    code = "store_busy"


class StoreIOError(StoreError):
    """The disk or file system answered with an error."""

    code = "store_io_error"


class StoreReadOnly(StoreError):
    """The file or file system cannot be written."""

    code = "store_read_only"


class StoreUnavailable(StoreError):
    """The database cannot be reached or opened."""

    code = "store_unavailable"


class StoreCorrupt(StoreError):
    """Stored bytes do not match their digests or cannot be read as what they claim to be."""

    code = "store_corrupt"


class BlobNotFound(StoreError):
    """The store does not hold these bytes: never written, erased, or gone with the last session that had them."""

    code = "blob_not_found"


class StoreClosed(StoreError):
    """The store object was closed."""

    code = "store_closed"


class StoreForked(StoreError):
    """The store object was made before a ``fork`` and is used after it; open a new one in the child."""

    code = "store_forked"


class JournalTooNew(StoreError):
    """The journal holds an essential entry of a newer release; this release can only read it."""

    code = "journal_too_new"


class LeaseLost(StoreError):
    """This driver's epoch is no longer the session's: another one took over, and nothing was written."""

    code = "lease_lost"


class AppendRefused(StoreError):
    """Base of the signals by which a store tells the engine to look again; nothing was written."""

    code = "append_refused"


class HeadMoved(AppendRefused):
    """The head is not where the append expected it."""

    code = "head_moved"


class InboxNotEmpty(AppendRefused):
    """The append would end a run or free a lease over an unconsumed inbox row."""

    code = "inbox_not_empty"


class CancelRequested(AppendRefused):
    """The append would start a model call or a tool over an unconsumed cancel."""

    code = "cancel_requested"
