"""The effect ledger: what really happened, written outside the database by the one who did it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

What: TypeAlias = Literal["tool", "model"]
Happened: TypeAlias = Literal["started", "slice", "finished"]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. ``call``, ``key`` and ``attempt`` are what the kernel handed to the tool."""

    what: What
    happened: Happened
    pid: int
    name: str = ""
    call: str = ""
    key: str = ""
    attempt: int = 0
    detail: str = ""


class Ledger:
    """Lines of JSON in one file, each appended by one write and synced before the work goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, what: What, happened: Happened, fields: Mapping[str, Any]) -> None:
        """Append a line, durably. Raises OSError."""
        line = msgspec.json.encode(Line(what, happened, os.getpid(), **fields))
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, line + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self) -> list[Line]:
        """Return the lines so far; a last one that is still being written is left out."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Line) for line in text.split(b"\n")[:-1]]


class Deed(msgspec.Struct, frozen=True):
    """What the ledger says of one tool call."""

    call: str
    name: str
    attempts: tuple[int, ...]
    keys: frozenset[str]
    results: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How often it was started."""
        return len(self.attempts)


def deeds(lines: Sequence[Line]) -> dict[str, Deed]:
    """Return what the lines say of each tool call, in order of first start."""
    found: dict[str, Deed] = {}
    for call in dict.fromkeys(line.call for line in lines if line.what == "tool"):
        mine = [line for line in lines if line.call == call]
        found[call] = Deed(
            call,
            mine[0].name,
            tuple(line.attempt for line in mine if line.happened == "started"),
            frozenset(line.key for line in mine),
            tuple(line.detail for line in mine if line.happened == "finished"),
        )
    return found


def model_calls(lines: Sequence[Line]) -> tuple[int, int]:
    """Return how many model calls were started, and how many were answered (and so paid)."""
    started = sum(line.what == "model" and line.happened == "started" for line in lines)
    finished = sum(line.what == "model" and line.happened == "finished" for line in lines)
    return started, finished


def tell(event: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
    """Tell the parent something, as one line on stdout."""
    os.write(1, json.dumps({"event": event, **fields}, default=str).encode() + b"\n")
