"""Cancellation tokens: how a host says stop to a run of this process."""

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from power_loop.facts.errors import CancellationRequested, ConfigError


@runtime_checkable
class CancellationLike(Protocol):
    """Anything that can say whether it was cancelled."""

    def is_cancelled(self) -> bool:
        """Tell whether to stop."""
        ...


CancelSource: TypeAlias = "CancellationLike | threading.Event | asyncio.Event | Callable[[], bool] | None"


class CancellationToken:
    """A flag that is set once, from any thread. Wraps events and callables through :meth:`from_any`."""

    def __init__(self) -> None:
        self.reason = "cancelled"
        self._set = False
        self._foreign: Callable[[], bool] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self._lock = threading.Lock()

    @classmethod
    def never(cls) -> "CancellationToken":
        """Return a token that nobody else holds."""
        return cls()

    @classmethod
    def from_any(cls, source: CancelSource) -> "CancellationToken":
        """Wrap None, a token, a threading or asyncio event, or a callable. Raises ConfigError (a ValueError)."""
        if isinstance(source, cls):
            return source
        token = cls()
        if source is None:
            return token
        if isinstance(source, threading.Event | asyncio.Event):
            token._foreign = source.is_set
        elif isinstance(source, CancellationLike):
            token._foreign = source.is_cancelled
        elif callable(source):
            token._foreign = source
        else:
            raise ConfigError(
                f"Cannot cancel by a {type(source).__name__}; pass a CancellationToken, a threading or asyncio Event, "
                f"or a callable that returns bool."
            )
        return token

    @property
    def polled(self) -> bool:
        """Whether somebody else holds the flag, so that it must be looked at now and then."""
        return self._foreign is not None

    def is_cancelled(self) -> bool:
        """Tell whether it was set; a callable that raises counts as not set."""
        if self._set:
            return True
        if self._foreign is None:
            return False
        try:
            return bool(self._foreign())
        except Exception:  # noqa: BLE001 -- a host's callable may raise anything, and that is no wish to stop
            return False

    def raise_if_cancelled(self) -> None:
        """Raise CancellationRequested when set."""
        if self.is_cancelled():
            raise CancellationRequested(self.reason)

    def cancel(self, reason: str = "cancelled") -> None:
        """Set the flag; later calls change nothing."""
        with self._lock:
            if self._set:
                return
            self.reason = reason
            self._set = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener(reason)

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call ``listener(reason)`` when set, on the thread that sets it; returns a function that stops listening."""
        with self._lock:
            self._listeners.append(listener)
            already = self._set
        if already:
            listener(self.reason)

        def forget() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return forget
