"""The SQLite store."""

from power_loop.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
