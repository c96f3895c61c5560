"""Clocks. Durable deadlines survive wall-clock jumps: within one boot, the boot clock decides."""

import asyncio
import time
from functools import cache
from pathlib import Path
from typing import Protocol

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """A point in time, said twice: wall milliseconds since 1970, and milliseconds on the clock of one boot."""

    wall_ms: int
    boot_id: str
    boot_ms: int

    def plus(self, seconds: float) -> "Instant":
        """Return the instant that many seconds later."""
        ms = round(seconds * 1000)
        return Instant(self.wall_ms + ms, self.boot_id, self.boot_ms + ms)

    def reached(self, now: "Instant") -> bool:
        """Tell whether ``now`` is at or past this instant. Across boots only the wall clock is comparable."""
        if self.boot_id and self.boot_id == now.boot_id:
            return now.boot_ms >= self.boot_ms
        return now.wall_ms >= self.wall_ms


class Clock(Protocol):
    """Where the engine and the stores get their time from; ``power_loop.testing.FakeClock`` is another one."""

    def now(self) -> Instant:
        """Return the present instant."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        ...


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot, or ``""`` where the system has none (wall time decides then)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Instant:
        """Return the present instant."""
        return Instant(time.time_ns() // 1_000_000, boot_id(), time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000)

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
