"""P1, P2: whatever a power cut leaves of unsynced writes, acknowledged commits survive it, whole."""

import shutil
from pathlib import Path

import apsw
import apsw_seam
import powerloss_vfs
import pytest

from power_loop.facts.chain import base_digest, verify
from power_loop.facts.entries import Note
from power_loop.facts.journal import Entry
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite import connection, workers
from power_loop.testing.conformance.base import Hand, new

STATES = 3000
NAME = "sessions.db"


async def recorded(folder: Path, *, level: str, monkeypatch: pytest.MonkeyPatch) -> list[powerloss_vfs.Operation]:
    """Run one session and return what it did to the disk. ``level`` replaces FULL, for the disk that must lose."""
    log: list[powerloss_vfs.Operation] = []
    vfs = powerloss_vfs.RecordingVFS("recording", log)
    monkeypatch.setattr(workers, "CHECKPOINT_WHEN_IDLE", 40)
    if level != "FULL":
        monkeypatch.setattr(connection, "SYNCHRONOUS", level)
        monkeypatch.setattr(connection, "SYNCHRONOUS_CODE", 1)
    store = SqliteStore(folder / NAME, connect=apsw_seam.connect_apsw("recording"))
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    for number in range(60):
        await hand.commit(*[Note(topic="test", text="x" * 300)] * (1 + number % 3))
        log.append(powerloss_vfs.Acknowledged(hand.seq))
    survived = list(log)
    await store.close()
    vfs.unregister()
    return survived


def loses(files: dict[str, bytes], acknowledged: int, folder: Path) -> str | None:
    """Open what is left as SQLite does after a power cut; return what is wrong with it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    db = apsw.Connection(str(folder / NAME))
    try:
        head = list(db.execute("SELECT head_seq, head_digest FROM sessions"))
        entries = list(
            db.execute("SELECT id & 4294967295, kind, version, run, round, time, body, digest FROM entries ORDER BY id")
        )
        if acknowledged and (not head or head[0][0] < acknowledged):
            return "lost"
        if head:
            rows = [Entry(*row) for row in entries]
            verify(rows, base_seq=0, base=base_digest("s"), head_seq=head[0][0], head=head[0][1])
    except apsw.SQLError:  # no such table: cut before the schema was there
        return "lost" if acknowledged else None
    except Exception as error:
        return repr(error)
    finally:
        db.close()
    return None


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    memory = Path("/dev/shm")
    return memory / f"power-loop-{tmp_path.name}" if memory.is_dir() else tmp_path / "left"


async def damage(tmp_path: Path, scratch: Path, *, level: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log = await recorded(tmp_path, level=level, monkeypatch=monkeypatch)
    assert any(isinstance(op, powerloss_vfs.Write) and op.file == NAME for op in log), "no checkpoint was recorded"
    found = [loses(files, count, scratch) for count, files in powerloss_vfs.cuts(log, STATES, seed=7)]
    shutil.rmtree(scratch, ignore_errors=True)
    assert len(found) > STATES // 2
    return [damage for damage in found if damage]


async def test_full_loses_nothing(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await damage(tmp_path, scratch, level="FULL", monkeypatch=monkeypatch) == []


async def test_the_simulation_sees_what_normal_loses(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "lost" in await damage(tmp_path, scratch, level="NORMAL", monkeypatch=monkeypatch)
