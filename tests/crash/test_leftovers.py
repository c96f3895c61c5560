"""P15: what a killed driver's tools had started is gone before its successor's first step, and nothing else is."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from power_loop import StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM

HOST = Path(__file__).with_name("crash_process_host.py")


@tool(effect="once")
def run() -> str:
    """Run a program."""
    return ""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


@asynccontextmanager
async def host(folder: Path, session: str, mode: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A driver process, and the program that its tool has started."""
    folder.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(sys.executable, str(HOST), str(folder), session, mode)
    mark = folder / f"{session}.{'pid' if mode == 'running' else 'waits'}"
    while not mark.exists():
        assert process.returncode is None
        await asyncio.sleep(0.005)
    pid = int((folder / f"{session}.pid").read_text())
    try:
        yield process, pid
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


async def succeed(folder: Path, session: str, verb: str, pid: int) -> bool:
    """Go on with a dead driver's session; tell whether the program still lived at the first call of the model."""
    seen: list[bool] = []

    def look(_request) -> str:
        seen.append(alive(pid))
        return "fine"

    loop = StatefulAgentLoop(llm=ScriptedLLM(look), tools=[run], db_path=str(folder / "sessions.db"))
    if verb == "resume":
        await loop.resume(session)
    else:
        await loop.send("again", session, on_pending=verb)
    await loop.close()
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize("mode", ["running", "left"])
@pytest.mark.parametrize("verb", ["resume", "abort"])
async def test_gone_before_the_first_step(tmp_path: Path, mode: str, verb: str) -> None:
    """Whether their call was open or had its result, and whether it is finished or aborted."""
    async with host(tmp_path, "s", mode) as (driver, pid):
        driver.kill()
        await driver.wait()
        assert alive(pid), "nobody else would end it"
        assert not await succeed(tmp_path, "s", verb, pid)


async def test_gone_before_the_end_of_a_run_is_recorded(tmp_path: Path) -> None:
    """A run that has ended is never looked at again: when its end is durable, its processes are no more."""
    async with host(tmp_path, "s", "ended") as (driver, pid):
        driver.kill()
        await driver.wait()
        assert not alive(pid)


async def test_those_of_another_database_are_not_touched(tmp_path: Path) -> None:
    """Two hosts may use the same session id, and one machine."""
    async with host(tmp_path / "a", "s", "running") as (_, theirs), host(tmp_path / "b", "s", "running") as (ours, pid):
        ours.kill()
        await ours.wait()
        assert not await succeed(tmp_path / "b", "s", "resume", pid)
        assert alive(theirs)
