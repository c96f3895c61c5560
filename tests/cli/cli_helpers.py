"""A model on loopback, and a look at the journal from outside."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from power_loop.testing.faulty_server import FaultyServer, Reply

MODEL = "openai:stand-in"


class StandIn:
    """The loopback model server, on a thread of its own: the command line has its own event loop."""

    def __init__(self) -> None:
        self.server = FaultyServer()
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with self.server:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def says(self, *replies: Reply) -> None:
        self.server.script += replies

    def call(self, function: Callable[[], None]) -> None:
        """Call on the server's own loop."""
        self._loop.call_soon_threadsafe(function)

    def wait_for_request(self) -> None:
        future = asyncio.run_coroutine_threadsafe(self.server.arrived.wait(), self._loop)
        future.result(30)


def kinds(path: Path) -> list[str]:
    """Read the kinds of all entries, as any SQL tool would."""
    if not path.exists():
        return []
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return [kind for (kind,) in db.execute("SELECT kind FROM entries ORDER BY id")]
    except sqlite3.OperationalError:  # the file is there before its tables are
        return []
    finally:
        db.close()


def wait_for_kind(path: Path, kind: str) -> None:
    """Wait until the journal of the one session has an entry of this kind."""
    until = time.monotonic() + 60
    while kind not in kinds(path):
        assert time.monotonic() < until, f"no {kind} within a minute"
        time.sleep(0.01)
