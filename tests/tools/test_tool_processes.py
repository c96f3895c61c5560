"""P15: processes of tools end with their run, whatever they do to get away."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from power_loop.engine.processes import MARKER, ProcessScope, _Output, reap_leftovers

# Each tree consists of processes that write their pids and then wait to be ended.
SLEEPER = """
import os, signal, sys, time
what, pids = sys.argv[1], sys.argv[2]
def hold(name):
    with open(os.path.join(pids, name + ".tmp"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(os.path.join(pids, name + ".tmp"), os.path.join(pids, name))
    while True:
        time.sleep(1000)
def ignore():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
if what == "root":
    hold("one")
if what == "stubborn":
    ignore()
    if os.fork() == 0:
        hold("one")
    hold("two")
if what == "setsid":
    if os.fork() == 0:
        os.setsid()
        ignore()
        hold("one")
    hold("two")
if what == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            hold("one")
        os._exit(0)
    os.wait()
    hold("two")
if what == "cleared":
    if os.fork() == 0:
        os.setsid()
        ignore()
        os.execve(sys.executable, [sys.executable, __file__, "root", pids], {})
    hold("two")
if what == "same-session":
    if os.fork() == 0:
        if os.fork() == 0:
            os.execve(sys.executable, [sys.executable, __file__, "root", pids], {})
        os._exit(0)
    os.wait()
    hold("two")
if what == "stopped":
    if os.fork() == 0:
        hold("one")
    while not os.path.exists(os.path.join(pids, "one")):
        time.sleep(0.005)
    os.kill(int(open(os.path.join(pids, "one")).read()), signal.SIGSTOP)
    hold("two")
"""
TREES = {"root": 1, "stubborn": 2, "setsid": 2, "daemon": 2, "cleared": 2, "same-session": 2, "stopped": 2}

SESSION = f"s {os.getpid()}"
"""A session of this worker's: a scope ends all processes of its session, also those of a test beside it."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


class Trees:
    def __init__(self, folder: Path) -> None:
        self.script = folder / "tree.py"
        self.script.write_text(SLEEPER)
        self.pids = folder / "pids"
        self.pids.mkdir()

    def argv(self, what: str) -> list[str]:
        return [sys.executable, str(self.script), what, str(self.pids)]

    def known(self) -> list[int]:
        return [int(path.read_text()) for path in self.pids.iterdir() if not path.suffix]

    async def started(self, count: int) -> list[int]:
        while len(self.known()) < count:
            await asyncio.sleep(0.005)
        return self.known()

    def forget(self) -> None:
        for path in self.pids.iterdir():
            path.unlink()


@pytest.fixture
def trees(tmp_path: Path):
    made = Trees(tmp_path)
    yield made
    for path in made.pids.iterdir():
        if living([int(path.read_text())]):
            os.kill(int(path.read_text()), signal.SIGKILL)


def living(pids: list[int]) -> list[int]:
    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    return [pid for pid in pids if lives(pid)]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# -- running


async def test_output_exit_code_and_input():
    async with ProcessScope(SESSION, 1, "driver") as run:
        code = "import sys; data = sys.stdin.read(); print(len(data)); print('bad', file=sys.stderr); sys.exit(3)"
        result = await run(python(code), stdin=b"x" * 300_000)
        assert (result.exit_code, result.stdout, result.stderr) == (3, "300000\n", "bad\n")
        assert not result.truncated
        assert not result.timed_out
        assert (await run(["cat"])).stdout == ""
        assert (await run(["true"], stdin=b"never read" * 100_000)).exit_code == 0


async def test_bytes_that_are_no_text_are_replaced():
    async with ProcessScope(SESSION, 1, "driver") as run:
        result = await run(python(r"import os; os.write(1, b'a\xff\x00b')"))
    assert result.stdout == "a\ufffd\0b"


async def test_the_environment_is_clean(monkeypatch, tmp_path):
    monkeypatch.setenv("CANARY_SECRET", "do-not-leak")
    monkeypatch.setenv("LANG", "C.UTF-8")
    async with ProcessScope(SESSION, 1, "driver") as run:
        code = "import os, json; print(json.dumps([dict(os.environ), os.getcwd()]))"
        result = await run(python(code), env={"EXTRA": "yes"}, cwd=str(tmp_path))
    environment, folder = json.loads(result.stdout)
    assert {"PATH", "EXTRA", MARKER} <= environment.keys() <= {"PATH", "HOME", "LANG", "LC_CTYPE", "EXTRA", MARKER}
    assert (environment["EXTRA"], environment["LANG"]) == ("yes", "C.UTF-8")
    assert folder == str(tmp_path)
    assert "do-not-leak" not in result.stdout


async def test_output_is_bounded_while_it_is_read():
    async with ProcessScope(SESSION, 1, "driver") as run:
        code = "import sys; sys.stdout.write('head' + 'x' * 20_000_000 + 'tail'); sys.stderr.write('e' * 1000)"
        result = await run(python(code), output_limit=1000)
    assert result.truncated
    assert result.stdout.startswith("head")
    assert result.stdout.endswith("tail")
    assert "[... 19999008 of 20000008 bytes cut ...]" in result.stdout
    assert len(result.stdout) < 1100
    assert result.stderr == "e" * 1000


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_an_output_keeps_first_and_last_bytes_and_no_more(chunks, limit):
    output, whole, half = _Output(limit), b"".join(chunks), max(limit // 2, 1)
    for chunk in chunks:
        output.feed(chunk)
        assert len(output._head) + len(output._tail) <= 3 * half
    assert output.truncated == (len(whole) > 2 * half)
    if output.truncated:
        assert output.text().startswith(whole[:half].decode(errors="replace"))
        assert output.text().endswith(whole[-half:].decode(errors="replace"))
    else:
        assert output.text() == whole.decode(errors="replace")


async def test_wrong_calls():
    async with ProcessScope(SESSION, 1, "driver") as run:
        for argv in ([], "ls -l"):
            with pytest.raises(ValueError, match="argv"):
                await run(argv)
        with pytest.raises(FileNotFoundError):
            await run(["/no/such/program"])
    with pytest.raises(RuntimeError, match="ended"):
        await run(["true"])


async def test_a_background_process_does_not_hold_the_call_and_ends_with_the_run(trees):
    run = ProcessScope(SESSION, 1, "driver")
    result = await run(["sh", "-c", '"$@" & echo started', "sh", *trees.argv("root")])
    assert result.stdout == "started\n"
    pids = await trees.started(1)
    assert (await run(["true"])).exit_code == 0
    assert living(pids) == pids
    await run.close()
    assert living(pids) == []
    await run.close()


# -- ending


@pytest.mark.parametrize("what", TREES)
async def test_a_cancel_ends_the_whole_tree(trees, what):
    run = ProcessScope(SESSION, 1, "driver")
    call = asyncio.create_task(run(trees.argv(what)))
    pids = await trees.started(TREES[what])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert living(pids) == []


async def test_a_second_cancel_does_not_cut_the_ending_short(trees):
    call = asyncio.create_task(ProcessScope(SESSION, 1, "driver")(trees.argv("stubborn")))
    pids = await trees.started(2)
    for _ in range(5):
        call.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert living(pids) == []


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancel_while_starting_leaves_nothing(trees, turns):
    call = asyncio.create_task(ProcessScope(SESSION, 1, "driver")(trees.argv("setsid")))
    for _ in range(turns):
        await asyncio.sleep(0)
    while running(trees.script) and len(trees.known()) < 2:
        time.sleep(0.005)  # the loop stands still, so the call is cancelled in the middle of its start
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not running(trees.script)


def running(script: Path) -> bool:
    return any(str(script).encode() in read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_deadline_ends_the_tree_and_keeps_the_output(trees):
    script = 'echo before; "$@" & wait'
    async with ProcessScope(SESSION, 1, "driver") as run:
        result = await run(["sh", "-c", script, "sh", *trees.argv("setsid")], timeout=1.0)
        pids = trees.known()
    assert result.timed_out
    assert result.exit_code < 0
    assert result.stdout == "before\n"
    assert living(pids) == []


async def test_a_cancel_ends_only_its_own_call(trees, tmp_path):
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = Trees(other_folder)
    run = ProcessScope(SESSION, 1, "driver")
    first, second = asyncio.create_task(run(trees.argv("setsid"))), asyncio.create_task(run(other.argv("setsid")))
    pids, others = await trees.started(2), await other.started(2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (living(pids), living(others)) == ([], others)
    await run.close()
    assert living(others) == []
    assert (await second).exit_code < 0


# -- after the driver's death

DRIVER = """
import asyncio, sys
from power_loop.engine.processes import ProcessScope
session, run, store, *argv = sys.argv[1:]
asyncio.run(ProcessScope(session, int(run), "driver, with:signs", store=store)(argv))
"""


async def killed_driver(
    trees: Trees, what: str, session: str, run: int, *, store: str = "", **environment: str
) -> list[int]:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, session, str(run), store, *trees.argv(what)], env={**os.environ, **environment}
    )
    try:
        return await trees.started(TREES[what])
    finally:
        driver.kill()
        driver.wait()


@pytest.mark.parametrize("what", ["root", "stubborn", "setsid", "daemon", "cleared", "stopped"])
async def test_a_successor_ends_what_a_killed_driver_left(trees, what):
    session = f"left {what} {os.getpid()}"  # tests of other workers end what is left in theirs
    pids = await killed_driver(trees, what, session, 4)
    assert living(pids) == pids
    assert await reap_leftovers(session, 5) >= len(pids)
    assert living(pids) == []
    assert await reap_leftovers(session, 5) == 0


async def test_only_older_runs_of_this_session_in_this_store_are_ended(trees):
    session = "a:run:9, é/\n"
    pids = await killed_driver(trees, "daemon", session, 4, store="/one.db")
    for other in ({"session_id": session, "before_run": 4}, {"session_id": "a", "before_run": 99}):
        assert await reap_leftovers(**other, store="/one.db") == 0
    assert await reap_leftovers(session, 5, store="/two.db") == 0
    assert living(pids) == pids
    assert await reap_leftovers(session, 5, store="/one.db") == 2
    assert living(pids) == []


async def test_a_kernel_inside_a_tool_keeps_the_outer_marker(trees):
    outer = await killed_driver(trees, "root", "outer", 1)
    mark = next(
        item.partition("=")[2]
        for item in Path(f"/proc/{outer[0]}/environ").read_text().split("\0")
        if item.startswith(MARKER)
    )
    await reap_leftovers("outer", 2)
    trees.forget()
    environment: dict[str, Any] = {MARKER: mark}
    pids = await killed_driver(trees, "setsid", "inner", 1, **environment)
    assert await reap_leftovers("outer", 2) == 2
    assert living(pids) == []
