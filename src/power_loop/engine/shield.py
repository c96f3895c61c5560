"""Waiting for something that must not be left half-way."""

import asyncio
from typing import TypeVar

_T = TypeVar("_T")


async def settled(task: "asyncio.Task[_T] | asyncio.Future[_T]") -> _T:
    """Wait until the task has ended, also while this one is being cancelled; then be cancelled, or return.

    The task's own error comes first: it says what became of the work.
    """
    cancelled = await _ended(task)
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def finished(task: "asyncio.Task[_T] | asyncio.Future[_T]") -> _T:
    """Wait until the task has ended, whatever happens to this one meanwhile, and return its result.

    For cleaning up inside ``except CancelledError``: the caller raises that in the end.
    """
    await _ended(task)
    return task.result()


async def _ended(task: "asyncio.Task[_T] | asyncio.Future[_T]") -> asyncio.CancelledError | None:
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
