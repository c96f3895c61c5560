"""Blocking functions off the event loop, in daemon threads that nobody has to wait for."""

import asyncio
import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")
_MOST_IDLE = 32


class _Job:
    """One call: runs in a worker, reports to the loop that waits for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def run(self) -> tuple[Any, BaseException | None]:
        try:
            return self._context.run(self._call), None
        except StopIteration as error:
            return None, _as_error(error)
        except Exception as error:  # noqa: BLE001 -- it is raised again where the call is awaited
            return None, error
        except BaseException as error:  # noqa: BLE001 -- a tool may not end the process, nor pose as a cancel
            return None, _as_error(error)

    def tell(self, result: Any, error: BaseException | None) -> None:  # noqa: ANN401 -- whatever the function returned
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _settle(self, result: Any, error: BaseException | None) -> None:  # noqa: ANN401
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


def _as_error(error: BaseException) -> RuntimeError:
    wrapped = RuntimeError(f"the function raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


class _Worker:
    """A daemon thread and its inbox. It is in ``_idle`` exactly while it waits for a job."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[_Job] = SimpleQueue()
        threading.Thread(target=self._work, name="power-loop tool", daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self.inbox.get()
            outcome = job.run()
            last = len(_idle) >= _MOST_IDLE
            if not last:
                _idle.append(self)
            job.tell(*outcome)
            if last:
                return
            del job, outcome


_idle: deque[_Worker] = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads do not survive a fork


async def run_in_thread(function: Callable[..., _T], /, *args: Any) -> _T:  # noqa: ANN401 -- the function's own
    """Return ``function(*args)``, run in a daemon thread with a copy of the current context variables.

    When the awaiting task is cancelled the thread is abandoned: it runs on, its late result is dropped, and the
    interpreter does not wait for it at exit. What the function raises is raised here; StopIteration and what is
    no Exception (SystemExit, KeyboardInterrupt, CancelledError) come as a RuntimeError with that cause.
    """
    job = _Job(lambda: function(*args))
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.inbox.put(job)
    result: _T = await job.future
    return result
