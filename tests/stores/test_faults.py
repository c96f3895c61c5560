"""P11: every storage fault is typed, harms nothing acknowledged, and ends with its cause. P9: no commit is unclear."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import apsw_seam
import pytest

from power_loop.facts.chain import verify
from power_loop.facts.entries import Note
from power_loop.facts.errors import (
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreIOError,
    StoreReadOnly,
    StoreUnavailable,
)
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite import faults, workers
from power_loop.stores.sqlite.connection import connect_sqlite3
from power_loop.testing.conformance.base import NOW, Hand, new

NOTE = Note(topic="t", text="x" * 200)
BIG = Note(topic="t", text="x" * 50_000)


async def begun(store: SqliteStore) -> Hand:
    hand = Hand(store, await store.create(new("s")))
    await hand.claim(NOTE)
    return hand


async def intact(store: SqliteStore, hand: Hand) -> None:
    """All that was acknowledged is there, nothing else, and the session goes on."""
    row, entries = await store.load("s")
    assert (row.head_seq, row.head_digest) == (hand.seq, hand.digest)
    verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    await hand.commit(NOTE)


async def fill(hand: Hand) -> None:
    for _ in range(40):
        await hand.commit(BIG)


async def test_a_full_disk(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    store = SqliteStore(small_disk / "sessions.db")
    hand = await begun(store)
    with pytest.raises(StoreFull) as caught:
        await fill(hand)
    assert caught.value.path == store.path
    assert "space" in str(caught.value)
    ballast.unlink()
    await intact(store, hand)
    await store.close()


LIMITED = """
import asyncio, resource, sys
sys.path[:0] = [sys.argv[2]]
from test_faults import BIG, begun, intact
from power_loop.facts.errors import StoreFull, StoreIOError
from power_loop.stores import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    hand = await begun(store)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        for _ in range(40):
            await hand.commit(BIG)
    except (StoreFull, StoreIOError) as error:
        assert error.path == store.path
    else:
        raise AssertionError("the limit was not felt")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await intact(store, hand)
    await store.close()
    print("went on")

asyncio.run(main())
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", LIMITED, str(tmp_path / "sessions.db"), str(Path(__file__).parent)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout == "went on\n"


async def test_a_database_that_may_only_be_read(tmp_path: Path) -> None:
    def connect(path: str, *, readonly: bool) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute(f"PRAGMA query_only={int(locked)}")
        return db

    locked = False
    store = SqliteStore(tmp_path / "sessions.db", connect=connect)
    hand = await begun(store)
    await store.close()
    locked = True
    store = hand.store = SqliteStore(tmp_path / "sessions.db", connect=connect)
    with pytest.raises(StoreReadOnly) as caught:
        await hand.commit(NOTE)
    assert caught.value.path == store.path
    assert len(await store.read("s")) == 1
    locked = False
    await intact(store, hand)
    await store.close()


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "fixed"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder, folder], check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_file_system_that_becomes_read_only(read_only_disk: Path) -> None:
    store = SqliteStore(read_only_disk / "sessions.db")
    hand = await begun(store)
    await store.close()
    subprocess.run(["mount", "-o", "remount,bind,ro", str(read_only_disk)], check=True)
    store = SqliteStore(read_only_disk / "sessions.db")
    with pytest.raises((StoreReadOnly, StoreUnavailable)) as caught:
        await store.create(new("t"))
    assert caught.value.path
    subprocess.run(["mount", "-o", "remount,bind,rw", str(read_only_disk)], check=True)
    hand.store = store
    await intact(store, hand)
    await store.close()


@pytest.mark.parametrize(
    "content", [b"this is a letter, not a database. " * 200, b"SQLite format 3\0" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sessions.db"
    path.write_bytes(content)
    store = SqliteStore(path)
    for attempt in (store.list(), store.create(new("s"))):
        with pytest.raises(StoreCorrupt) as caught:
            await attempt
        assert caught.value.path == str(path)
    assert path.read_bytes() == content
    path.unlink()
    await intact(store, await begun(store))
    await store.close()


async def test_a_page_that_was_overwritten(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db")
    hand = await begun(store)
    await hand.commit(*[BIG] * 5)
    await store.close()
    with Path(store.path).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 12)
    store = SqliteStore(store.path)
    with pytest.raises(StoreCorrupt):
        await store.load("s")
    await store.close()


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    store = SqliteStore(tmp_path / "folder" / "sessions.db")
    with pytest.raises(StoreUnavailable) as caught:
        await store.create(new("s"))
    assert caught.value.path == store.path
    (tmp_path / "folder").unlink()
    await intact(store, await begun(store))
    await store.close()


async def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreUnavailable):
        await store.list()
    await store.close()


async def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sub" / "sessions.db")
    await begun(store)
    shutil.rmtree(tmp_path / "sub")
    assert list(await store.list()) == []
    await intact(store, await begun(store))
    await store.close()


class LostReply:
    """A driver whose next COMMIT fails: before it was done, or after, so that only the answer is lost."""

    def __init__(self, path: str, readonly: bool) -> None:
        self.db = connect_sqlite3(path, readonly=readonly)
        self.fails = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        fails, self.fails = (self.fails, "") if statement == "COMMIT" else ("", self.fails)
        if fails != "before":
            done = self.db.execute(statement, *parameters)
        if not fails:
            return done
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


class Doubtful:
    """A store whose writing connection is at hand."""

    def __init__(self, path: Path) -> None:
        self.opened: list[LostReply] = []
        self.store = SqliteStore(path, connect=self.connect)

    def connect(self, path: str, *, readonly: bool) -> LostReply:
        db = LostReply(path, readonly)
        if not readonly:
            self.opened.append(db)
        return db

    def fail(self, when: str) -> None:
        self.opened[-1].fails = when


async def test_a_commit_whose_answer_is_lost_is_a_commit(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    store = doubtful.store
    hand = await begun(store)
    doubtful.fail("after")
    await hand.commit(NOTE)
    doubtful.fail("after")
    command = await store.enqueue("s", "input", "{}", now=1)
    assert [row.id for row in await store.inbox("s")] == [command]
    doubtful.fail("after")
    assert (await store.create(new("t"))).id == "t"
    doubtful.fail("after")
    assert await store.delete("t", now=NOW) == 1
    doubtful.fail("after")
    await hand.commit(NOTE, consumes=(command,))
    doubtful.fail("after")
    assert await store.release("s", hand.epoch) is True
    doubtful.fail("after")
    await hand.claim()
    await intact(store, hand)
    await store.close()


async def test_a_commit_that_was_not_done_is_an_error(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    store = doubtful.store
    hand = await begun(store)
    doubtful.fail("before")
    with pytest.raises(StoreIOError):
        await hand.commit(NOTE)
    doubtful.fail("before")
    with pytest.raises(StoreIOError):
        await store.enqueue("s", "input", "{}", now=1)
    assert list(await store.inbox("s")) == []
    await intact(store, hand)
    await store.close()


async def test_a_lost_answer_is_resolved_for_each_of_a_group(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    hands = [Hand(doubtful.store, await doubtful.store.create(new(f"s{number}"))) for number in range(6)]
    for hand in hands:
        await hand.claim()
    hands[2].digest = b""
    doubtful.fail("after")
    results = await asyncio.gather(*[hand.commit(NOTE) for hand in hands], return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, False, True, False, False, False]
    for hand in hands:
        assert len(await doubtful.store.read(hand.id)) == hand.seq
    await doubtful.store.close()


def test_every_code_of_sqlite_becomes_a_store_error() -> None:
    for code in range(1, 102):
        error = sqlite3.OperationalError("words")
        error.sqlite_errorcode = code | 3 << 8
        fault = faults.typed(error, "/where")
        assert isinstance(fault, StoreError)
        assert (fault.path, fault.__cause__) == ("/where", error)


class Failing(apsw.VFS):
    """Fails the operation whose number comes up, once or until healed. Syncs of the real disk are left out."""

    def __init__(self, name: str) -> None:
        self.left = -1
        self.lasting = False
        super().__init__(name, "")

    def arm(self, number: int, *, lasting: bool) -> None:
        self.left, self.lasting = number, lasting

    def heal(self) -> None:
        self.left = -1

    def step(self) -> None:
        if self.left > 0:
            self.left -= 1
            if self.left == 0 and not self.lasting:
                self.left = -2
                raise apsw.exception_for(apsw.SQLITE_IOERR)
        if self.left == 0:
            raise apsw.exception_for(apsw.SQLITE_IOERR)

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's names
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, vfs: Failing, name: object, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._vfs.step()
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._vfs.step()
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.step()
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.step()


@pytest.fixture
def failing() -> Iterator[Failing]:
    vfs = Failing("failing")
    yield vfs
    vfs.unregister()


async def one_fault(vfs: Failing, folder: Path, number: int, *, lasting: bool) -> bool:
    """Let operation ``number`` fail and go on; tell whether any caller heard of it."""
    store = SqliteStore(folder / "sessions.db", connect=apsw_seam.connect_apsw("failing"))
    hand = await begun(store)
    heard: list[StoreError] = []
    vfs.arm(number, lasting=lasting)
    for _ in range(6):
        try:
            await hand.commit(NOTE)
            await store.get("s")
        except StoreError as error:
            heard.append(error)
    vfs.heal()
    assert all(error.path == store.path for error in heard)
    assert {type(error) for error in heard} <= {StoreIOError, StoreUnavailable, StoreCorrupt}
    await intact(store, hand)
    await store.close()
    return bool(heard)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
async def test_an_io_error_at_any_operation(
    tmp_path: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    monkeypatch.setattr(workers, "CHECKPOINT_WHEN_IDLE", 10)
    heard = [await one_fault(failing, tmp_path / f"{number}", number, lasting=lasting) for number in range(1, 81)]
    assert sum(heard) > 20
