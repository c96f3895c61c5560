import pytest

from power_loop import MemoryStore, SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "sessions.db"))
    yield made
    await made.close()
