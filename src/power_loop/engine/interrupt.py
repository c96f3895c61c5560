"""Interrupting a step of one's own: a cancel that is told apart from a cancellation of the host's task."""

import asyncio
from types import TracebackType


class Interrupted(Exception):
    """Someone asked the run to stop while a step was waiting."""


class Interrupt:
    """Wraps awaits of a run's own task: ``with run.interrupt:``. :meth:`fire` ends the await with Interrupted.

    Built like ``asyncio.timeout``: the task is cancelled and the cancellation taken back at the border.
    """

    def __init__(self) -> None:
        self.fired = False
        self._task: asyncio.Task[object] | None = None

    def fire(self) -> None:
        """Interrupt what waits now and what will wait. Call it on the run's event loop."""
        if self.fired:
            return
        self.fired = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> None:
        if self.fired:
            raise Interrupted
        self._task = asyncio.current_task()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self.fired or task is None:
            return
        still_cancelled = task.uncancel() > 0
        if kind is None or (issubclass(kind, asyncio.CancelledError) and not still_cancelled):
            raise Interrupted from error


class Deadline:
    """Bounds awaits of a run's own task: ``with run.deadline.within(seconds):`` raises TimeoutError.

    What ``asyncio.timeout`` does, without a timer for bounds that lie behind the run's next heartbeat: there the run
    calls :meth:`look`, so that a usual call costs no timer at all.
    """

    def __init__(self) -> None:
        self.expired = False
        self._due: float | None = None
        self._horizon = 0.0
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float | None) -> "Deadline":
        """Set the bound of the next ``with``; None: no bound."""
        self.expired = False
        self._due = None if seconds is None else asyncio.get_running_loop().time() + seconds
        return self

    def look(self, horizon: float) -> None:
        """Make sure that the bound is kept until ``horizon``, the loop's time of the next look."""
        self._horizon = horizon
        if self._task is not None:
            self._set()

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._due is not None:
            self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        task, self._task, self._due = self._task, None, None
        self.close()
        if not self.expired or task is None:
            return
        still_cancelled = task.uncancel() > 0
        if kind is not None and issubclass(kind, asyncio.CancelledError) and not still_cancelled:
            raise TimeoutError from error

    def _set(self) -> None:
        if self._due is not None and self._due < self._horizon and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.expired = True
        if self._task is not None:
            self._task.cancel()
