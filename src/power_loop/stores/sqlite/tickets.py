"""Between event loops and worker threads: a ticket carries one job's verdict back to the loop that asked.

Knows nothing of SQLite. No asyncio object outlives the call that made it.
"""

import asyncio
import queue
import threading
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from power_loop.facts.errors import StoreClosed

T = TypeVar("T")

BATCH = 256
"""Jobs that a worker takes at once."""


class Ticket(Generic[T]):
    """One job's way back. The worker sets ``result`` or ``error``; ``deliver`` wakes whoever waits."""

    __slots__ = ("done", "error", "loop", "result", "waiter")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[None] = self.loop.create_future()
        self.done = False
        self.result: T | None = None
        self.error: BaseException | None = None

    async def wait(self) -> T:
        """Return the verdict. A cancelled caller still awaits it, and is cancelled then."""
        cancelled: asyncio.CancelledError | None = None
        while not self.done:
            try:
                await self.waiter
            except asyncio.CancelledError as error:
                cancelled = error
                self.waiter = self.loop.create_future()
        if cancelled is not None:
            raise cancelled
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]  # done without error: the worker has set it


def deliver(tickets: Iterable["Ticket[T]"]) -> None:
    """Wake the waiters, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Ticket[T]]] = {}
    for ticket in tickets:
        by_loop.setdefault(ticket.loop, []).append(ticket)
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, group)
        except RuntimeError:  # the loop is closed: nobody waits there any more
            continue


def _wake(tickets: "Sequence[Ticket[T]]") -> None:
    for ticket in tickets:
        ticket.done = True
        if not ticket.waiter.done():
            ticket.waiter.set_result(None)


J = TypeVar("J")


class Worker(Generic[J]):
    """A thread that serves jobs in batches, in the order they came. It starts with the first job."""

    def __init__(self, name: str, path: str) -> None:
        self.path = path
        self.gate = threading.Lock()
        """Held while a batch is served; whoever holds it knows that no connection is in use."""
        self._name = name
        self._queue: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._ended: Ticket[None] | None = None

    def submit(self, job: J) -> None:
        """Hand in a job. Raises StoreClosed once stopped."""
        with self._lock:
            if self._stopped:
                raise StoreClosed(f"The store at {self.path} is closed. Open a new one.", path=self.path)
            self._queue.put(job)
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, ended: "Ticket[None] | None" = None) -> None:
        """Let the thread finish what is queued and end; ``ended`` hears of it. Returns at once."""
        with self._lock:
            if self._stopped:
                return
            self._stopped, self._ended = True, ended
            self._queue.put(None)
            if self._thread is None:
                self._start()

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, at most ``timeout`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._take()
            if batch:
                with self.gate:
                    self.serve(batch)
        self.finish()
        if self._ended is not None:
            deliver([self._ended])

    def _take(self) -> tuple[list[J], bool]:
        batch: list[J] = []
        while len(batch) < BATCH and not (batch and self._queue.empty()):
            job = self._queue.get()
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be served."""
        return self._queue.empty()

    def serve(self, batch: list[J]) -> None:
        """Do the jobs and deliver their verdicts."""
        raise NotImplementedError

    def finish(self) -> None:
        """Let go of what the thread used; its last act."""
        raise NotImplementedError
