"""Interrupting a step of one's own: a cancel that is told apart from a cancellation of the host's task."""

import asyncio
from types import TracebackType


class Interrupted(Exception):
    """Someone asked the run to stop while a step was waiting."""


class Interrupt:
    """Wraps awaits of a step: ``async with run.interrupt:``. :meth:`fire` ends the await with Interrupted.

    Built like ``asyncio.timeout``: the task is cancelled and the cancellation taken back at the border.
    """

    def __init__(self) -> None:
        self.fired = False
        self._tasks: list[asyncio.Task[object]] = []

    def fire(self) -> None:
        """Interrupt what waits now and what will wait. Call it on the run's event loop."""
        if self.fired:
            return
        self.fired = True
        for task in self._tasks:
            task.cancel()

    async def __aenter__(self) -> None:
        if self.fired:
            raise Interrupted
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- inside a coroutine there is one
        self._tasks.append(task)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- as above
        self._tasks.remove(task)
        if not self.fired:
            return
        still_cancelled = task.uncancel() > 0
        if kind is None or (issubclass(kind, asyncio.CancelledError) and not still_cancelled):
            raise Interrupted from error
