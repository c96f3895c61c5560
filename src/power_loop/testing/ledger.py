"""An effect ledger: what really happened, kept outside the database that is being tested."""

import os
from pathlib import Path
from typing import Any

import msgspec

from power_loop.facts import jsontext


class Happening(msgspec.Struct, frozen=True):
    """One line of a ledger: what happened, to which thing, in which process, with whatever else was said."""

    what: str
    key: str
    pid: int
    details: dict[str, Any] = {}


class EffectLedger:
    """An append-only file of effects. Each line is one ``write`` to a file opened with ``O_APPEND``.

    Lines of several processes do not mix, and a line survives the SIGKILL of its writer; it is not synced for a
    power cut. Holds no file open, so that it can be used before and after a fork, from any thread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def record(self, what: str, key: str = "", **details: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Append one line. ``details`` are JSON values."""
        line = jsontext.encode(Happening(what, key, os.getpid(), details)) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self, what: str | None = None, key: str | None = None) -> list[Happening]:
        """Return the lines in the order they were written, all of them or those of one kind or key."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().splitlines()
        effects = [msgspec.json.decode(line, type=Happening) for line in lines]
        return [line for line in effects if what in {None, line.what} and key in {None, line.key}]

    def count(self, what: str, key: str | None = None) -> int:
        """Return how often something happened."""
        return len(self.read(what, key))
