"""The floor: the same commits by a program without a kernel, with the standard library alone.

It turns each fact into text, writes the rows that the kernel writes, in tables of the same shape, in as many FULL
commits, from asyncio through one writer thread with group commit. It checks, derives and recovers nothing.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.child import CHUNKS_PER_READ, SESSION, Numbers, check, cost_of, cpu_of_turns, main, rate_of

Commit: TypeAlias = tuple[tuple[str, int], ...]
Row: TypeAlias = tuple[int, str, int, int, int, int, str, bytes]

# What the kernel writes in a turn: commit by commit, the kind of each row and the characters of its body.
TOOL_TURN: tuple[Commit, ...] = (
    (("input_received", 114), ("run_started", 110), ("model_called", 2)),
    (("model_replied", 318), ("tool_started", 97), ("tool_started", 97)),
    (("tool_finished", 156),),
    (("tool_finished", 176), ("model_called", 2)),
    (("model_replied", 179), ("run_ended", 33)),
)
TEXT_TURN = (TOOL_TURN[0], TOOL_TURN[-1])

_DIGEST = bytes(16)
_OWNER = "driver_1234_01m84w1gskf1b8njtdbvetmtsp"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, head_seq INTEGER NOT NULL, head_digest BLOB NOT NULL, owner TEXT, config TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, version INTEGER NOT NULL, run INTEGER NOT NULL,
    round INTEGER NOT NULL, time INTEGER NOT NULL, body TEXT NOT NULL, digest BLOB NOT NULL
);
"""
_CREATE = "INSERT INTO sessions VALUES (?, ?, 'root', 0, 0, 0, ?, ?, '{}')"
_MOVE_HEAD = "UPDATE sessions SET head_seq = ?, head_digest = ?, updated_at = ? WHERE key = ?"
_INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_READ = "SELECT id, kind, version, run, round, time, body, digest FROM entries WHERE id BETWEEN ? AND ? ORDER BY id"
_BITS = 32


def filler(characters: int) -> dict[str, str]:
    """Return a fact whose JSON text has this many characters."""
    frame = len(json.dumps({"t": ""}))
    return {"t": "x" * (characters - frame)} if characters >= frame else {}


@dataclass
class Session:
    """A session's key and the number of its newest row."""

    key: int
    head: int = 0

    def rows(self, commit: Sequence[tuple[str, Any]]) -> list[Row]:
        """Number the facts of a commit and turn them into rows."""
        now, rows = time.time_ns() // 1_000_000, []
        for kind, fact in commit:
            self.head += 1
            rows.append((self.key << _BITS | self.head, kind, 1, 1, 0, now, json.dumps(fact), _DIGEST))
        return rows


@dataclass(frozen=True)
class Job:
    """Rows to commit, and who waits for that."""

    key: int
    head: int
    rows: list[Row]
    done: "asyncio.Future[None]"


class Writer(threading.Thread):
    """The one thread that writes: all that waits goes into one transaction."""

    def __init__(self, folder: str) -> None:
        super().__init__(daemon=True)
        self._path = Path(folder, "floor.db")
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self.commits = 0
        with closing(self.connect()) as db:
            db.executescript(_SCHEMA)

    def connect(self) -> sqlite3.Connection:
        """Open the file as the kernel's store does: WAL, FULL."""
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        return db

    def create(self, keys: Sequence[int]) -> list[Session]:
        """Insert sessions, outside what is measured."""
        with closing(self.connect()) as db:
            db.execute("BEGIN")
            db.executemany(_CREATE, [(key, f"{SESSION}_{key}", _DIGEST, _OWNER) for key in keys])
            db.execute("COMMIT")
        return [Session(key) for key in keys]

    def read(self, key: int) -> list[Row]:
        """Return a session's rows."""
        with closing(self.connect()) as db:
            return db.execute(_READ, (key << _BITS, (key + 1) << _BITS)).fetchall()

    async def commit(self, session: Session, facts: Sequence[tuple[str, Any]]) -> None:
        """Return when the facts are on the disk."""
        done = self._loop.create_future()
        self.commits += 1
        rows = session.rows(facts)
        self._jobs.put(Job(session.key, session.head, rows, done))
        await done

    async def stop(self) -> None:
        """Return when the file is closed."""
        self._jobs.put(None)
        await asyncio.to_thread(self.join)

    def run(self) -> None:
        """Serve until told to stop."""
        with closing(self.connect()) as db:
            ending = False
            while not ending:
                jobs, ending = self._take()
                if jobs:
                    self._write(db, jobs)
                    self._loop.call_soon_threadsafe(_wake, jobs)

    def _take(self) -> tuple[list[Job], bool]:
        jobs: list[Job] = []
        while not (jobs and self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    @staticmethod
    def _write(db: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            db.execute(_MOVE_HEAD, (job.head, _DIGEST, job.rows[-1][5], job.key))
            db.executemany(_INSERT, job.rows)
        db.execute("COMMIT")


def _wake(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.done.set_result(None)


class Turns:
    """Runs turns: the commits of one, with facts of the right size."""

    def __init__(self, writer: Writer, script: Sequence[Commit]) -> None:
        self._writer = writer
        self._script = [[(kind, filler(characters)) for kind, characters in commit] for commit in script]

    async def one(self, session: Session) -> None:
        """Make the commits of a turn, one after the other."""
        for facts in self._script:
            await self._writer.commit(session, facts)


def size_of(script: Sequence[Commit]) -> Numbers:
    """Return what a turn writes, to be compared with the kernel's."""
    sizes = [len(json.dumps(filler(characters))) for commit in script for _, characters in commit]
    return {"rows": len(sizes), "characters": sum(sizes), "commits": len(script)}


async def cost(folder: str, turns: int) -> Numbers:
    """Run turns of two tool calls in one session."""
    writer = Writer(folder)
    (session,) = writer.create([1])
    turn = Turns(writer, TOOL_TURN)
    writer.start()
    spent = await cpu_of_turns(lambda: turn.one(session), turns)
    await writer.stop()
    return cost_of(spent, folder) | size_of(TOOL_TURN)


async def concurrency(folder: str, sessions: int, turns: int, tools: bool) -> Numbers:
    """Run many sessions at once."""
    script = TOOL_TURN if tools else TEXT_TURN
    writer = Writer(folder)
    opened = writer.create(range(1, sessions + 1))
    turn = Turns(writer, script)
    writer.start()

    async def session_turns(number: int) -> None:
        for _ in range(turns):
            await turn.one(opened[number])

    numbers = await rate_of(session_turns, sessions, turns)
    await writer.stop()
    return numbers | size_of(script)


async def prepare(folder: str, turns: int) -> Numbers:
    """Make the long session that ``reopen`` opens."""
    writer = Writer(folder)
    (session,) = writer.create([1])
    turn = Turns(writer, TOOL_TURN)
    writer.start()
    for _ in range(turns):
        await turn.one(session)
    await writer.stop()
    return {}


async def reopen(folder: str, messages: int) -> Numbers:
    """Open the file, read and decode a session's rows, run a turn."""
    start = time.perf_counter()
    writer = Writer(folder)
    rows = writer.read(1)
    facts = [json.loads(row[6]) for row in rows]
    writer.start()
    await Turns(writer, TOOL_TURN).one(Session(1, head=len(facts)))
    ready = time.perf_counter()
    check(sum(row[1] in {"input_received", "model_replied", "tool_finished"} for row in rows), messages, "messages")
    await writer.stop()
    return {"ms": (ready - start) * 1e3}


async def pieces(count: int) -> AsyncIterator[str]:
    """Yield chunks as the streaming model of the kernel's program does."""
    for number in range(count):
        if number % CHUNKS_PER_READ == 0:
            await asyncio.sleep(0)
        yield "token "


async def stream(folder: str, chunks: int) -> Numbers:  # noqa: ARG001 -- called like the others; writes nothing
    """Iterate over a bare async generator."""
    count, before = 0, time.process_time()
    async for _ in pieces(chunks):
        count += 1
    spent = time.process_time() - before
    check(count, chunks, "streamed pieces")
    return {"us": spent / chunks * 1e6}


if __name__ == "__main__":
    main({"cost": cost, "concurrency": concurrency, "prepare": prepare, "reopen": reopen, "stream": stream})
