"""Waiting for something that must not be left half-way."""

import asyncio
from typing import TypeVar

_T = TypeVar("_T")


async def settled(task: "asyncio.Task[_T] | asyncio.Future[_T]") -> _T:
    """Wait until the task has ended, also while this one is being cancelled; then be cancelled, or return.

    The task's own error comes first: it says what became of the work.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
