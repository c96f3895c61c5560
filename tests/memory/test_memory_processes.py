"""Several processes share one memory file; a stopped one cannot hold the others up for ever."""

import asyncio
import fcntl
import gc
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing

import pytest

from power_loop.facts.errors import StoreBusy
from power_loop.memory import SqliteMemory

WRITE = """
import asyncio, sys
from power_loop.memory import SqliteMemory

async def main(path, name, count):
    for number in range(int(count)):
        async with SqliteMemory(path) as memory:
            await memory.add(f"{name} saw cat {number}")
            await memory.add("everybody saw this")

asyncio.run(main(*sys.argv[1:]))
"""

DIE = """
import asyncio, os, signal, sys
from power_loop.memory import SqliteMemory

async def main(path):
    memory = SqliteMemory(path)
    await memory.add("acknowledged")
    print("told", flush=True)
    await memory._file.write(lambda db: (db.execute("DELETE FROM memories"), os.kill(os.getpid(), signal.SIGKILL)))

asyncio.run(main(sys.argv[1]))
"""

LEAVE = """
import asyncio, sys
from power_loop.memory import SqliteMemory

async def main(path):
    await SqliteMemory(path).add("left without closing")

asyncio.run(main(sys.argv[1]))
"""

FORK = """
import asyncio, os, sys
from power_loop.facts.errors import StoreForked
from power_loop.memory import SqliteMemory

memory = SqliteMemory(sys.argv[1])
asyncio.run(memory.add("cats"))
if os.fork() == 0:
    try:
        asyncio.run(memory.add("a child's"))
    except StoreForked:
        memory._file._close()
        memory._file._db.execute("SELECT 1")
        os._exit(0)
    os._exit(1)
assert os.wait()[1] == 0
asyncio.run(memory.add("dogs"))
asyncio.run(memory.close())
"""


async def program(text: str, *arguments: object) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", text, *map(str, arguments), stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_processes_that_open_write_and_close_at_once_lose_nothing(tmp_path):
    path = tmp_path / "memory.db"
    done = await asyncio.gather(*(program(WRITE, path, name, 15) for name in ("ada", "bob", "eve")))
    assert [(code, err) for code, _, err in done] == [(0, "")] * 3
    async with SqliteMemory(path) as memory:
        assert len(await memory.search("", limit=999)) == 3 * 15 + 1
        assert len(await memory.search("bob", limit=999)) == 15
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.execute("INSERT INTO memory_index (memory_index) VALUES ('integrity-check')")


async def test_what_was_acknowledged_survives_a_kill_and_what_was_not_leaves_nothing(tmp_path):
    path = tmp_path / "memory.db"
    code, out, _ = await program(DIE, path)
    assert (code, out) == (-9, "told\n")
    async with SqliteMemory(path) as memory:
        assert [item.text for item in await memory.search("")] == ["acknowledged"]
        assert await memory.add("and on it goes")


async def test_a_program_that_forgets_to_close_ends_cleanly(tmp_path):
    path = tmp_path / "memory.db"
    assert await program(LEAVE, path) == (0, "", "")
    assert not (tmp_path / "memory.db-wal").exists()
    async with SqliteMemory(path) as memory:
        assert len(await memory.search("left")) == 1


async def test_an_object_that_is_dropped_closes_its_file(tmp_path):
    memory = SqliteMemory(tmp_path / "memory.db")
    await memory.add("cats")
    thread = memory._file._thread
    del memory
    thread.submit(int).result()  # by now the thread has let go of its last job
    gc.collect()
    assert not (tmp_path / "memory.db-wal").exists()


async def test_a_writer_waits_no_longer_than_its_patience_and_readers_do_not_wait(tmp_path):
    path = tmp_path / "memory.db"
    async with SqliteMemory(path, patience=0.05) as memory:
        await memory.add("cats")
        fd = os.open(f"{path}-lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with pytest.raises(StoreBusy, match="write lock"):
                await memory.add("dogs")
            assert len(await memory.search("cats")) == 1
        finally:
            os.close(fd)
        assert await memory.add("dogs")


async def test_every_write_is_made_under_the_lock(tmp_path):
    path = tmp_path / "memory.db"
    held = []

    def work(db):
        fd = os.open(f"{path}-lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(db.in_transaction)
        finally:
            os.close(fd)

    async with SqliteMemory(path) as memory:
        await memory._file.write(work)
    assert held == [True]


async def test_a_forked_child_cannot_use_it_and_does_not_close_it(tmp_path):
    assert await program(FORK, tmp_path / "memory.db") == (0, "", "")
    async with SqliteMemory(tmp_path / "memory.db") as memory:
        assert [item.text for item in await memory.search("")] == ["dogs", "cats"]
