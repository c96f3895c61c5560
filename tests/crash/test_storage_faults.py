"""P11, through the whole kernel: a storage fault is a typed error of the verb, leaves nothing half written, and the
same loop object goes on with the same session when the cause is gone.
"""

import asyncio
import contextlib
import gc
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from crash_checks import problems
from crash_jobs import DEEP, scratch
from crash_world import SESSION, World

from power_loop import StatefulAgentLoop, tool
from power_loop.facts.errors import StoreBusy, StoreError, StoreFull, StoreIOError, StoreReadOnly
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite.connection import Connection, connect_sqlite3
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore

FAULTS = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_IOERR: StoreIOError,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
}


class FaultyDisk:
    """A ``connect`` seam: the n-th writing statement fails, before or after it had its effect; once, or from then on.

    Statements that end a transaction work even then, as a rollback in SQLite does.
    """

    def __init__(self, at: int, code: int, *, lasting: bool, late: bool) -> None:
        self.at, self.code, self.lasting, self.late = at, code, lasting, late
        self.count = 0
        self.healed = False

    def connect(self, path: str, *, readonly: bool) -> Connection:
        db = connect_sqlite3(path, readonly=readonly)
        return db if readonly else FaultyConnection(db, self)  # type: ignore[return-value]

    @property
    def strikes(self) -> bool:
        return not self.healed and (self.count == self.at or (self.lasting and self.count > self.at))


class FaultyConnection:
    def __init__(self, db: Connection, disk: FaultyDisk) -> None:
        self._db, self._disk = db, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, parameters: Any = (), /) -> Any:
        disk = self._disk
        if statement.startswith(("ROLLBACK", "RELEASE", "SELECT")) or (disk.late and statement != "COMMIT"):
            return self._db.execute(statement, parameters)
        disk.count += 1
        if not disk.strikes:
            return self._db.execute(statement, parameters)
        if disk.late:
            self._db.execute(statement, parameters)
        error = sqlite3.OperationalError("the disk of this test")
        error.sqlite_errorcode = disk.code
        raise error


async def played(folder: Path, disk: FaultyDisk) -> StoreError | None:
    """Play a scenario over a faulty disk, heal it, and go on with the same loop; return what the host was told."""
    folder.mkdir()
    world = World(folder, "parallel", store=SqliteStore(folder / "sessions.db", connect=disk.connect), ordered=False)
    told = None
    try:
        await world.host()
    except StoreError as error:
        told = error
    disk.healed = True
    assert await world.host() == "completed"
    assert await problems(world, None) == []
    assert (await world.loop.send("and on", SESSION)).status == "completed"
    await world.store.close()
    assert told is None or (isinstance(told, FAULTS[disk.code]) and str(folder) in told.path)
    return told


@pytest.mark.parametrize("code", list(FAULTS))
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
async def test_a_fault_at_every_statement(code: int, lasting: bool, caplog: pytest.LogCaptureFixture) -> None:
    told: list[StoreError | None] = []
    with scratch() as folder:
        for at in count(1, 1 if DEEP else 3):
            disk = FaultyDisk(at, code, lasting=lasting, late=False)
            told.append(await played(folder / str(at), disk))
            if disk.count < at:
                break
    assert len(told) >= 18
    assert sum(error is not None for error in told) > 12
    gc.collect()
    assert "never retrieved" not in caplog.text, "the host hears of a fault once, from the verb"


async def test_a_commit_whose_answer_is_lost_is_looked_up(tmp_path: Path) -> None:
    """P9: each COMMIT had its effect, its answer was an error. The host hears nothing of it: no duplicate, no loss."""
    told: list[StoreError | None] = []
    while True:
        disk = FaultyDisk(len(told) + 1, sqlite3.SQLITE_IOERR, lasting=False, late=True)
        told.append(await played(tmp_path / str(disk.at), disk))
        if disk.count < disk.at:
            break
    assert len(told) > 7
    assert told[1:] == [None] * (len(told) - 1), "only the making of the schema is reported, to be made again"


async def test_a_sibling_that_returns_behind_a_fault_writes_nothing(tmp_path: Path) -> None:
    """Its result stands on facts that were discarded. The host hears of the fault, and a resume runs what it may."""
    ran: list[str] = []

    @tool(effect="idempotent")
    async def work(name: str) -> str:
        """Work, and hand in the result although nobody wants it any more."""
        ran.append(name)
        if name != "quick" and len(ran) <= 3:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return f"{name} done"

    faults = iter([StoreFull("full", path="here")])

    def on_commit(point: CommitPoint) -> None:
        if "tool_finished" in point.kinds and point.moment == "before":
            for fault in faults:
                raise fault

    store = CrashingStore(SqliteStore(tmp_path / "sessions.db"), on_commit)
    llm = ScriptedLLM(reply("", *(call("work", name=name) for name in ("slow", "slower", "quick"))), "fine")
    loop = StatefulAgentLoop(llm=llm, tools=[work], store=store)
    await loop.new_session(SESSION)
    with pytest.raises(StoreFull):
        await loop.send("go", SESSION)
    assert (await loop.resume(SESSION)).final_text == "fine"
    assert sorted(ran) == ["quick", "quick", "slow", "slow", "slower", "slower"]
    told = [m["content"] for m in await loop.get_messages(SESSION) if m["role"] == "tool"]
    assert told == ["slow done", "slower done", "quick done"]
    await store.close()


async def test_a_locked_database(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", busy_timeout=0.05)
    loop = StatefulAgentLoop(llm=ScriptedLLM("one", "two"), store=store)
    session = await loop.new_session()
    other = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        await loop.send("hello", session)
    other.execute("ROLLBACK")
    other.close()
    assert [message["content"] for message in await loop.get_messages(session)] == []
    assert (await loop.send("hello", session)).final_text == "one"
    await loop.close()
    await store.close()


FULL = """
import asyncio, resource, signal, sys
from power_loop import StatefulAgentLoop
from power_loop.facts.chain import verify
from power_loop.facts.errors import StoreFull, StoreIOError
from power_loop.testing import ScriptedLLM

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main(path):
    loop = StatefulAgentLoop(llm=ScriptedLLM(lambda _: "x" * 3000, repeat=True), db_path=path)
    session = await loop.new_session()
    await loop.send("hello", session)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    done = 0
    try:
        while True:
            await loop.send("more", session)
            done += 1
    except (StoreFull, StoreIOError) as error:  # SQLite calls a file that may not grow an I/O error
        assert path in error.path
    before = await loop.store.read(session)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (await loop.resume(session)).status == "completed"
    result = await loop.send("last", session)
    record, entries = await loop.store.load(session)
    verify(entries, base_seq=0, base=record.base_digest, head_seq=record.head_seq, head=record.head_digest)
    assert list(entries[:len(before)]) == list(before)
    print(done, result.status)
    await loop.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_a_full_disk(tmp_path: Path) -> None:
    """A real one, as far as this process is concerned: its files may not grow."""
    command = (sys.executable, "-c", FULL, str(tmp_path / "sessions.db"))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    said, complained = await process.communicate()
    assert complained.decode() == ""
    done, status = said.decode().split()
    assert int(done) >= 1
    assert status == "completed"
