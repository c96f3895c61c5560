"""The process with the gun: reads the journal, read-only, and kills the worker at the worst moment.

That is when one call has its result and another is started and has none, and its tool is seen at work.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from power_loop.cli.demo.ledger import Ledger, tell
from power_loop.cli.demo.worker import end_with_parent
from power_loop.facts.entries import RunEnded, ToolFinished, ToolStarted
from power_loop.facts.errors import PowerLoopError
from power_loop.facts.journal import Entry
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite.connection import Connection, connect_sqlite3

_SEEN_SLICES = 3
"""Slices that the tool must have read when it is cut off."""
_LOOK = 0.02
"""Seconds between looks at the journal."""


class Target(msgspec.Struct, frozen=True):
    """Whom to watch, and where."""

    db: str
    ledger: str
    session: str
    pid: int


class Progress:
    """Which calls are started and which finished, as far as the journal was read."""

    def __init__(self) -> None:
        self.head = 0
        self.started: dict[str, str] = {}
        self.finished: set[str] = set()
        self.over = False

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in the next entries."""
        for entry in entries:
            self.head = entry.seq
            match entry.fact:
                case ToolStarted(call=call, name=name):
                    self.started[call] = name
                case ToolFinished(call=call):
                    self.finished.add(call)
                case RunEnded():
                    self.over = True
                case _:
                    pass

    def in_flight(self) -> str | None:
        """Return the call that is started without a result while another one has its own."""
        if not self.finished:
            return None
        return next((call for call in self.started if call not in self.finished), None)


def _read_only(path: str, *, readonly: bool) -> Connection:
    """Open read-only, whatever the store asks for: this process cannot write."""
    del readonly
    return connect_sqlite3(path, readonly=True)


async def _watch(target: Target) -> None:
    store = SqliteStore(target.db, connect=_read_only)
    ledger = Ledger(Path(target.ledger))
    progress = Progress()
    while not progress.over:
        progress.take(await store.read(target.session, after=progress.head))
        call = progress.in_flight()
        if call is not None and _slices(ledger, call) >= _SEEN_SLICES:
            finished = [progress.started[done] for done in progress.started if done in progress.finished]
            os.kill(target.pid, signal.SIGKILL)
            tell("killed", head=progress.head, finished=finished, in_flight=progress.started[call])
            return
        await asyncio.sleep(_LOOK)
    tell("missed")


def _slices(ledger: Ledger, call: str) -> int:
    return sum(line.call == call and line.happened == "slice" for line in ledger.read())


def main() -> int:
    """Watch the target in the first argument. Leaves the database as it is: nothing here closes it."""
    end_with_parent()
    try:
        asyncio.run(_watch(msgspec.json.decode(sys.argv[1], type=Target)))
    except PowerLoopError as error:
        tell("failed", code=error.code, message=error.message)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
