"""Stores: adapters of the store port. SQLite is the default, memory the one that forgets."""

from power_loop.ports.store import SessionStore
from power_loop.stores.memory import MemoryStore
from power_loop.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "open_store"]


def open_store(path: str) -> SessionStore:
    """Return the store that ``path`` means: ``":memory:"`` a MemoryStore, anything else a SqliteStore. Does no I/O."""
    return MemoryStore() if path == ":memory:" else SqliteStore(path)
