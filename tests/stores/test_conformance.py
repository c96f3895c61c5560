"""Memory and SQLite pass the published suite."""

from pathlib import Path

from power_loop.ports.store import SessionStore
from power_loop.stores import MemoryStore, SqliteStore
from power_loop.testing.conformance import DurableStoreConformance, StoreConformance


class TestMemoryStore(StoreConformance):
    async def make_store(self, tmp_path: Path) -> SessionStore:
        return MemoryStore()


class TestSqliteStore(DurableStoreConformance):
    async def make_store(self, tmp_path: Path) -> SessionStore:
        return SqliteStore(tmp_path / "new folder" / "sessions.db")


def promises(suite: type) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_")}


def test_the_suite_holds_eighty_promises() -> None:
    assert len(promises(StoreConformance)) >= 80
    assert promises(StoreConformance) < promises(DurableStoreConformance)
