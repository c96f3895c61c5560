"""A clock that stands still until a test moves it."""

import asyncio
import heapq
import itertools
import threading

from power_loop.facts.clock import Instant


class FakeClock:
    """A ``facts.clock.Clock`` under a test's hand: :meth:`advance` passes time, :meth:`jump` sets the wall clock.

    Args:
        start: The first instant; a fixed one by default. Pass ``SystemClock().now().plus(60)`` for a process whose
            clock is a minute ahead.
        passes: Whether ``sleep`` passes the time itself and returns at once.

    Sleepers of any event loop wake when the time has come; all methods are safe from any thread.
    """

    def __init__(self, start: Instant | None = None, *, passes: bool = False) -> None:
        self._now = start or Instant(1_700_000_000_000, "a boot of the fake clock", 1_000_000)
        self._passes = passes
        self._seconds = 0.0
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Event]] = []

    def now(self) -> Instant:
        """Return the present instant."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds that were passed; wall-clock jumps do not count."""
        return self._seconds

    @property
    def sleepers(self) -> int:
        """How many calls of ``sleep`` wait."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until somebody has passed that many seconds."""
        if seconds <= 0 or self._passes:
            self.advance(max(seconds, 0.0))
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        with self._lock:
            sleeper = (self._seconds + seconds, next(self._numbers), asyncio.get_running_loop(), woken)
            heapq.heappush(self._sleepers, sleeper)
        try:
            await woken.wait()
        finally:
            with self._lock:
                if sleeper in self._sleepers:
                    self._sleepers.remove(sleeper)
                    heapq.heapify(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Pass time: boot clock, wall clock and monotonic seconds alike. Raises ValueError for a negative time."""
        if seconds < 0:
            raise ValueError("Time does not go back; use jump() for the wall clock.")
        with self._lock:
            self._now = self._now.plus(seconds)
            self._seconds += seconds
            while self._sleepers and self._sleepers[0][0] <= self._seconds:
                _, _, loop, woken = heapq.heappop(self._sleepers)
                loop.call_soon_threadsafe(woken.set)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back; the boot clock and sleepers do not notice."""
        now = self._now
        self._now = Instant(now.wall_ms + round(seconds * 1000), now.boot_id, now.boot_ms)

    def reboot(self, boot_id: str) -> None:
        """Start another boot: its clock begins at zero, the wall clock goes on."""
        self._now = Instant(self._now.wall_ms, boot_id, 0)
