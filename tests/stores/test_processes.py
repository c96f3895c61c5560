"""P6, P8: several processes, one file. Dead drivers are recognised at once, stopped ones within bounds."""

import asyncio
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from power_loop.facts.chain import verify
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Note
from power_loop.facts.errors import SessionBusy, StoreBusy
from power_loop.stores import SqliteStore
from power_loop.testing.conformance.base import NOW, OTHER, Hand, new

NOTE = Note(topic="t", text="x" * 100)

HOLD = """
import asyncio, sys
from power_loop.stores import SqliteStore
from power_loop.testing.conformance.base import Hand

async def main(path):
    store = SqliteStore(path)
    await Hand(store, await store.get("s")).claim()
    print(store.owner, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""

LEAVE = HOLD.replace("await asyncio.Event().wait()", "await store.close()")

STOP_IN_TRANSACTION = """
import asyncio, signal, sys, threading
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite.connection import connect_sqlite3
from power_loop.testing.conformance.base import NOTE, Hand

class Stopping:
    def __init__(self, db):
        self.db = db
    def __getattr__(self, name):
        return getattr(self.db, name)
    def execute(self, sql, *parameters):
        if sql == "COMMIT" and armed:
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread goes no further before it
        return self.db.execute(sql, *parameters)

armed = False

async def main(path):
    global armed
    store = SqliteStore(path, connect=lambda path, *, readonly: Stopping(connect_sqlite3(path, readonly=readonly)))
    hand = Hand(store, await store.get("s"))
    await hand.claim()
    print(store.owner, flush=True)
    armed = True
    await hand.commit(NOTE)
    print("committed", flush=True)

asyncio.run(main(sys.argv[1]))
"""

HAMMER = """
import asyncio, sys
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite import workers
from power_loop.testing.conformance.base import NOTE, Hand, new

workers.CHECKPOINT_WHEN_IDLE = 6

async def main(path, name, rounds):
    for _ in range(int(rounds)):
        store = SqliteStore(path)
        try:
            record = await store.get(name)
        except Exception:
            record = await store.create(new(name))
        hand = Hand(store, record)
        await hand.claim()
        for _ in range(10):
            await hand.commit(NOTE)
        await hand.commit(release=True)
        await store.close()
    print(hand.seq, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def start(script: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments, stdout=PIPE)


async def line(child: Process) -> str:
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().strip()


async def ended(child: Process) -> int:
    """Wait for a child and the end of its pipe; return its status."""
    assert child.stdout is not None
    await child.stdout.read()
    status = await child.wait()
    child._transport.close()
    return status


async def stopped(pid: int) -> None:
    """Wait until the kernel says that a child has stopped."""
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "sessions.db", busy_timeout=0.3)
    await store.create(new("s"))
    yield store
    await store.close()


async def test_a_killed_drivers_lease_is_free_at_once(store: SqliteStore) -> None:
    child = await start(HOLD, store.path)
    owner = await line(child)
    hand = Hand(store, await store.get("s"))
    with pytest.raises(SessionBusy) as caught:
        await hand.claim()
    assert caught.value.owner == owner
    assert str(child.pid) in owner
    child.kill()
    await ended(child)
    await hand.claim(NOTE)
    assert (await store.get("s")).epoch == 2


async def test_a_stopped_driver_is_alive(store: SqliteStore) -> None:
    child = await start(HOLD, store.path)
    await line(child)
    child.send_signal(signal.SIGSTOP)
    await stopped(child.pid)
    with pytest.raises(SessionBusy):
        await Hand(store, await store.get("s")).claim()
    child.kill()
    await ended(child)


async def test_a_driver_that_left_with_a_lease_is_dead(store: SqliteStore) -> None:
    child = await start(LEAVE, store.path)
    await ended(child)
    await Hand(store, await store.get("s")).claim(NOTE)


async def test_a_driver_without_a_file_is_believed_until_its_lease_ends(store: SqliteStore) -> None:
    await Hand(store, await store.get("s"), owner=OTHER).claim()
    hand = Hand(store, await store.get("s"))
    with pytest.raises(SessionBusy):
        await hand.claim()
    await hand.claim(now=NOW.plus(30))


async def test_a_lease_of_another_boot_is_dead(store: SqliteStore) -> None:
    await Hand(store, await store.get("s"), owner=OTHER).claim()
    await Hand(store, await store.get("s")).claim(now=Instant(NOW.wall_ms, "next boot", 5))


async def test_a_child_does_not_keep_a_dead_driver_alive(store: SqliteStore) -> None:
    script = HOLD.replace(
        "    await asyncio.Event",
        "    if os.fork() == 0: print('forked', flush=True); time.sleep(600)\n    await asyncio.Event",
    )
    child = await start(script.replace("import asyncio", "import asyncio, os, time"), store.path)
    await line(child)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    assert await line(child) == "forked"  # and has let go of what it inherited
    forked = children.read_text().split()
    child.kill()
    while child.returncode is None:  # its pipe stays open in the fork
        await asyncio.sleep(0)
    try:
        await Hand(store, await store.get("s")).claim(NOTE)
    finally:
        os.kill(int(forked[0]), signal.SIGKILL)
        await ended(child)


async def test_files_of_dead_drivers_are_collected_unless_a_lease_names_them(store: SqliteStore) -> None:
    assert store.owner
    await store.create(new("other"))
    child = await start(HOLD, store.path)
    named = await line(child)
    child.kill()
    await ended(child)
    folder = Path(f"{store.path}-drivers")
    (folder / "driver_1_dead.lock").touch()
    later = await start(HOLD.replace('"s"', '"other"'), store.path)
    alive = await line(later)
    assert {file.stem for file in folder.iterdir()} == {store.owner, named, alive}
    later.kill()
    await ended(later)


async def test_a_holder_stopped_in_a_transaction_is_named(store: SqliteStore) -> None:
    child = await start(STOP_IN_TRANSACTION, store.path)
    owner = await line(child)
    await stopped(child.pid)
    with pytest.raises(StoreBusy) as caught:
        await store.create(new("t"))
    assert caught.value.details["holder"] == owner
    assert caught.value.path == store.path
    assert len(await store.read("s")) == 0
    child.send_signal(signal.SIGCONT)
    assert await line(child) == "committed"
    await ended(child)
    await store.create(new("t"))
    assert len(await store.read("s")) == 1


async def test_another_programs_write_lock_is_busy(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as caught:
            await store.create(new("t"))
        assert caught.value.path == store.path
        assert (await store.get("s")).id == "s"
        db.execute("ROLLBACK")
    await store.create(new("t"))


async def test_processes_that_commit_checkpoint_and_close_corrupt_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "sessions.db")
    names = [f"s{number}" for number in range(4)]
    children = [await start(HAMMER, path, name, "12") for name in names]
    said = [int(await line(child)) for child in children]
    assert [await ended(child) for child in children] == [0, 0, 0, 0]
    store = SqliteStore(path)
    for name, seq in zip(names, said, strict=True):
        row, entries = await store.load(name)
        assert (row.head_seq, len(entries)) == (seq, 120)
        verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
