"""Processes of tools: none outlives its run.

Each process starts in a session of its own and carries a marker in its environment that names power-loop's
session and run. The marker, the kernel's process sessions and parenthood together find the whole tree again, also
after ``setsid``, a double fork, or the death of the driver. A process that leaves all three behind (its own
session, a cleared environment, a dead parent) is found only while its parent lives; a sandbox is the answer there.
"""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from power_loop.engine.shield import settled
from power_loop.engine.threads import run_in_thread
from power_loop.ports.tools import DEFAULT_OUTPUT_LIMIT, ProcessResult

MARKER = "POWER_LOOP_PROCESS"
"""Environment variable of each process a tool starts; nested kernels append theirs, separated by a comma."""
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG")
END_WITHIN = 5.0
"""Seconds within which a tree is gone."""
_POLITE = 0.4  # seconds between SIGTERM and SIGKILL
_LINGER = 0.2  # seconds for output that is still in the pipes of a process that has ended
_POLL = 0.01
_HAS_PROC = Path("/proc/self/environ").exists()


# -- finding processes


@dataclass(slots=True, frozen=True)
class _Process:
    pid: int
    parent: int
    session: int
    started: str
    marks: tuple[str, ...]


def _read(path: str) -> bytes:
    """Return a file's bytes, none where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(handle, 1 << 16), b""))
    except OSError:
        return b""
    finally:
        os.close(handle)


def _stat(pid: int) -> tuple[int, int, str] | None:
    """Return parent, session and start time of a living process."""
    text = _read(f"/proc/{pid}/stat").decode("utf-8", "replace")
    if not text:
        return None
    state, parent, _, session, *rest = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else (int(parent), int(session), rest[15])


def _marks(pid: int) -> tuple[str, ...]:
    data = _read(f"/proc/{pid}/environ")
    at = (b"\0" + data).find(f"\0{MARKER}=".encode())
    if at < 0:
        return ()
    value = data[at + len(MARKER) + 1 :].split(b"\0", 1)[0]
    return tuple(value.decode("ascii", "replace").split(","))


def _processes() -> Iterator[_Process]:
    names = os.listdir("/proc")  # noqa: PTH208 -- only the names; a Path for each costs more than the look
    for pid in (int(name) for name in names if name.isdecimal()):
        marks = () if pid == os.getpid() else _marks(pid)
        if pid != os.getpid() and (stat := _stat(pid)):
            yield _Process(pid, *stat, marks)


class _Tree:
    """The living processes that a test of marks selects, the sessions of ``leaders``, and their descendants.

    ``leaders`` maps process ids to start times, so that a later process of the same id is not taken for ours.
    """

    def __init__(self, selects: Callable[[str], bool], leaders: Mapping[int, str] | None = None) -> None:
        self._selects = selects
        self._leaders = leaders or {}
        self._known: dict[int, str] = {}

    def alive(self) -> list[_Process]:
        everyone = list(_processes())
        others = {process.pid for process in everyone if self._leaders.get(process.pid) not in {None, process.started}}
        sessions = self._leaders.keys() - others
        ours = {process.pid: process for process in everyone if process.session in sessions or self._is_ours(process)}
        children: dict[int, list[_Process]] = {}
        for process in everyone:
            children.setdefault(process.parent, []).append(process)
        todo = list(ours)
        while todo:
            fresh = [child for child in children.get(todo.pop(), ()) if child.pid not in ours]
            ours |= {child.pid: child for child in fresh}
            todo += [child.pid for child in fresh]
        self._known |= {pid: process.started for pid, process in ours.items()}
        return list(ours.values())

    def _is_ours(self, process: _Process) -> bool:
        return self._known.get(process.pid) == process.started or any(map(self._selects, process.marks))

    def end(self) -> int:
        """End all of it; returns how many processes there were. Blocks for at most END_WITHIN seconds."""
        start = time.monotonic()
        told: set[tuple[int, str]] = set()
        while alive := self.alive() or self.alive():  # twice: one may have been born behind the first look
            elapsed = time.monotonic() - start
            if elapsed > END_WITHIN:
                break
            for process in alive:
                key = (process.pid, process.started)
                if elapsed > _POLITE or key not in told:
                    _send(process, signal.SIGKILL if elapsed > _POLITE else signal.SIGTERM)
                    told.add(key)
            time.sleep(_POLL)
        return len(self._known)


def _send(process: _Process, number: signal.Signals) -> None:
    """Signal this process and no later one of the same pid."""
    with suppress(OSError):
        handle = os.pidfd_open(process.pid)
        try:
            stat = _stat(process.pid)
            if stat and stat[2] == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _end_groups(leaders: Iterable[int]) -> None:
    """End process groups, where there is no /proc to look for more."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for leader in leaders:
            with suppress(OSError):
                os.killpg(leader, number)
        if number is signal.SIGTERM and any(map(_group_lives, leaders)):
            time.sleep(_POLITE)


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _session_part(session_id: str, store: str) -> str:
    return f"{sha256(store.encode()).hexdigest()[:12]}:{quote(session_id, safe='')}"


async def reap_leftovers(session_id: str, before_run: int, *, store: str = "") -> int:
    """End every process that an older run of this session left behind; returns how many there were.

    Meant for a successor, before its first step. ``store`` tells sessions of the same id in different stores
    apart and must be what their ``ProcessScope`` was given. Does nothing where there is no ``/proc``.
    """
    if not _HAS_PROC:
        return 0
    wanted = _session_part(session_id, store)

    def selects(mark: str) -> bool:
        part, _, rest = mark.rpartition(":run:")
        run = rest.split(":", 1)[0]
        return part == wanted and run.isdecimal() and int(run) < before_run

    return await settled(asyncio.ensure_future(run_in_thread(_Tree(selects).end)))


# -- running one


class _Output:
    """The first and last bytes of a stream; what lies between is counted and dropped."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        room = max(self._half - len(self._head), 0)
        self._head += data[:room]
        self._tail += data[room:][-self._half :]
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    @property
    def truncated(self) -> bool:
        return self._size > 2 * self._half

    def text(self) -> str:
        if not self.truncated:
            return (self._head + self._tail).decode(errors="replace")
        cut = self._size - 2 * self._half
        marker = f"\n[... {cut} of {self._size} bytes cut ...]\n"
        return self._head.decode(errors="replace") + marker + self._tail[-self._half :].decode(errors="replace")


class _Protocol(asyncio.SubprocessProtocol):
    def __init__(self, output_limit: int) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.outputs = {1: _Output(output_limit), 2: _Output(output_limit)}
        self._open = set(self.outputs)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.outputs[fd].feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 -- the loop passes it
        self._open.discard(fd)
        if not self._open and not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


def _environment(extra: dict[str, str] | None, mark: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    outer = os.environ.get(MARKER)
    return {"PATH": os.defpath, **kept, **(extra or {}), MARKER: f"{outer},{mark}" if outer else mark}


class ProcessScope:
    """Where the tools of one run start processes; the ``ProcessRunner`` of its ToolContexts.

    ``owner`` is the driver's id, ``store`` tells sessions of the same id in different stores apart. A process
    that a tool leaves in the background lives until ``close``.
    """

    def __init__(self, session_id: str, run: int, owner: str, *, store: str = "") -> None:
        self._mark = f"{_session_part(session_id, store)}:run:{run}:{quote(owner, safe='')}"
        self._numbers = itertools.count(1)
        self._leaders: dict[int, str] = {}
        self._used = False
        self._closed = False

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- part of the contract: the deadline ends the whole tree
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        output_limit: int = DEFAULT_OUTPUT_LIMIT,
    ) -> ProcessResult:
        """Run ``argv`` (no shell) and return its output; see ``ProcessRunner``.

        Cancelled or past the deadline, its whole tree is ended before this returns.
        """
        if isinstance(argv, str) or not argv:
            raise ValueError("argv must be a non-empty list: the program and its arguments; no shell reads it.")
        if self._closed:
            raise RuntimeError(f"Cannot start {argv[0]!r}: this run has ended.")
        mark = f"{self._mark}:{next(self._numbers)}"
        call = _Call(mark, _Protocol(output_limit))
        self._used = True
        try:
            await call.start(argv, stdin, cwd, _environment(env, mark))
            self._leaders[call.pid] = call.started
            in_time = await call.wait(timeout)
        except asyncio.CancelledError:
            await settled(asyncio.ensure_future(call.end()))
            raise
        finally:
            call.let_go()
            self._forget_ended()
        return call.result(timed_out=not in_time)

    @property
    def used(self) -> bool:
        """Whether a process was ever started here."""
        return self._used

    async def close(self) -> None:
        """End every process of this run that still lives, and start no more."""
        self._closed = True
        if self._used:
            leaders, self._leaders = self._leaders, {}
            await settled(asyncio.ensure_future(_end(self._mark, leaders)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _forget_ended(self) -> None:
        self._leaders = {leader: started for leader, started in self._leaders.items() if _group_lives(leader)}


async def _end(mark: str, leaders: Mapping[int, str]) -> None:
    if not _HAS_PROC:
        await run_in_thread(_end_groups, leaders)
        return
    tree = _Tree(lambda other: other == mark or other.startswith(f"{mark}:"), leaders)
    await run_in_thread(tree.end)


class _Call:
    """One process and its tree."""

    def __init__(self, mark: str, protocol: _Protocol) -> None:
        self._mark = mark
        self._protocol = protocol
        self._transport: asyncio.SubprocessTransport | None = None
        self.pid = 0
        self.started = ""

    async def start(self, argv: Sequence[str], stdin: bytes | None, cwd: str | None, env: dict[str, str]) -> None:
        await settled(asyncio.ensure_future(self._spawn(argv, stdin, cwd, env)))

    async def _spawn(self, argv: Sequence[str], stdin: bytes | None, cwd: str | None, env: dict[str, str]) -> None:
        self._transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: self._protocol,
            *argv,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        self.pid = self._transport.get_pid()
        stat = _stat(self.pid)
        self.started = stat[2] if stat else ""
        pipe = self._transport.get_pipe_transport(0)
        if isinstance(pipe, asyncio.WriteTransport):
            pipe.write(stdin or b"")
            pipe.write_eof()

    async def wait(self, seconds: float | None) -> bool:
        """Wait for the process, and briefly for its output; False when the deadline ended it."""
        done, _ = await asyncio.wait((self._protocol.exited,), timeout=seconds)
        if not done:
            await settled(asyncio.ensure_future(self.end()))
        await asyncio.wait((self._protocol.closed,), timeout=_LINGER)
        return bool(done)

    async def end(self) -> None:
        """End the tree and wait until the process is reaped."""
        if self.pid:
            await _end(self._mark, {self.pid: self.started})
            await asyncio.wait((self._protocol.exited,), timeout=END_WITHIN)

    def let_go(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def result(self, *, timed_out: bool) -> ProcessResult:
        code = self._transport.get_returncode() if self._transport else None
        out, err = self._protocol.outputs[1], self._protocol.outputs[2]
        return ProcessResult(
            exit_code=-signal.SIGKILL if code is None else code,
            stdout=out.text(),
            stderr=err.text(),
            truncated=out.truncated or err.truncated,
            timed_out=timed_out,
        )
