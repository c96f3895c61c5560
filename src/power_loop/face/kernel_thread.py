"""The kernel's own event loop, on a thread of its own: where ``_sync`` verbs run."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from power_loop.facts.errors import SyncInsideRun

_P = ParamSpec("_P")
_S = TypeVar("_S")
_T = TypeVar("_T")


class _KernelThread:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine there and wait for it, whatever loop the calling thread may have."""
        if threading.current_thread() is self._thread:
            work.close()
            raise SyncInsideRun(
                "A _sync verb was called on the kernel's own loop thread (from an async tool, a hook or a subscriber). "
                "Await the async verb there instead."
            )
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="power-loop-kernel", daemon=True)
                self._thread.start()
            return self._loop


_KERNEL = _KernelThread()


def _forget_after_fork() -> None:
    """A fork copies no threads: the child starts its own."""
    global _KERNEL  # noqa: PLW0603 -- the one process-wide thread
    _KERNEL = _KernelThread()


os.register_at_fork(after_in_child=_forget_after_fork)


def sync_twin(
    verb: Callable[Concatenate[_S, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[_S, _P], _T]:
    """Make the blocking twin of an async verb."""

    @wraps(verb)
    def twin(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return _KERNEL.run(verb(self, *args, **kwargs))

    twin.__name__ = f"{verb.__name__}_sync"
    twin.__doc__ = f"Block until :meth:`{verb.__name__}` is done. Raises SyncInsideRun on the kernel's loop thread."
    return twin
