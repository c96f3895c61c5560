"""Memory across sessions on SQLite. Any object with ``recall`` and ``remember`` may stand in its place."""

from power_loop.memory.provider import Extract, Memory, Namespace, SqliteMemory, exchange

__all__ = ["Extract", "Memory", "Namespace", "SqliteMemory", "exchange"]
