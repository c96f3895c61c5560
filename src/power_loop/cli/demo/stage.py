"""The demo's processes: started, listened to, and ended with their parent, whatever happens."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from power_loop.facts.errors import PowerLoopError

Heard: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Called with the actor's name and what it told."""
_LINE_BYTES = 1 << 22


class ActorFailed(PowerLoopError):
    """A process of the demo could not do its part."""

    code = "demo_failed"


class Actor:
    """One child process, known by name."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, heard: Heard, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.told: list[dict[str, Any]] = []
        self._process = process
        self._heard = heard
        self._log = log
        self._news = asyncio.Event()
        self._over = False
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- started with a pipe
        async for line in self._process.stdout:
            told = json.loads(line)
            self.told.append(told)
            self._news.set()
            self._heard(self.name, told)
        self._over = True
        self._news.set()

    async def wait_for(self, *events: str) -> dict[str, Any]:
        """Return the first of these events. Raises ActorFailed when the process ends without."""
        while True:
            for told in self.told:
                if told["event"] in events:
                    return told
            if self._over:
                raise self.failure(f"ended without saying {' or '.join(events)}")
            self._news.clear()
            await self._news.wait()

    async def ended(self) -> int:
        """Wait for the end of the process; returns its exit status, minus the signal's number for a signal."""
        await self._listener
        return await self._process.wait()

    def failure(self, what: str) -> ActorFailed:
        """Make the error that says what went wrong, with the process's own words where it has any."""
        failed = next((told for told in self.told if told["event"] == "failed"), None)
        words = failed["message"] if failed else self._last_words()
        return ActorFailed(f"{self.name} (process {self.pid}) {what}" + (f": {words}" if words else "."))

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    async def leave(self) -> None:
        """Kill the process, if it is still there, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener


class Stage:
    """Starts actors in ``folder``, where their stderr goes too."""

    def __init__(self, folder: Path, heard: Heard) -> None:
        self._folder = folder
        self._heard = heard
        self._actors: list[Actor] = []

    async def start(self, name: str, module: str, order: msgspec.Struct) -> Actor:
        """Start ``python -m module`` with an order. Its stdin is a pipe that closes with this process."""
        log = self._folder / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"power_loop.cli.demo.{module}", msgspec.json.encode(order).decode()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=_LINE_BYTES,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children
            )
        actor = Actor(name, process, self._heard, log)
        self._actors.append(actor)
        return actor

    async def close(self) -> None:
        """Leave no process behind."""
        for actor in self._actors:
            await actor.leave()


@asynccontextmanager
async def open_stage(folder: Path, heard: Heard) -> AsyncIterator[Stage]:
    """Yield a stage; every process started on it is gone when it closes."""
    stage = Stage(folder, heard)
    try:
        yield stage
    finally:
        await stage.close()
