"""Drivers in fresh interpreters, and what a test does with them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from crash_jobs import SERVER


class DriverProcess:
    """A driver of its own process. Waiting is for facts only: its death, or that it has stopped itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid

    async def stopped(self) -> None:
        """Wait until it has stopped itself."""
        stat = Path(f"/proc/{self.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] not in {"T", "t"}:
            assert self.process.returncode is None
            await asyncio.sleep(0.002)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def ended(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said on stderr."""
        _, said = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, said.decode()


@asynccontextmanager
async def driver(folder: Path, scenario: str, fault: str) -> AsyncIterator[DriverProcess]:
    """A driver in a fresh interpreter; killed at the end of the block if it still lives."""
    command = (sys.executable, str(SERVER), str(folder), scenario, fault)
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        yield DriverProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def die(folder: Path, scenario: str, fault: str) -> None:
    """Let a driver die of a fault."""
    async with driver(folder, scenario, fault) as process:
        assert await process.ended() == (-signal.SIGKILL, "")
