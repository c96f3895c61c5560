"""What the measured child processes share: one program each, its numbers as one line of JSON."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Numbers: TypeAlias = dict[str, float]
Program: TypeAlias = Callable[..., Coroutine[Any, Any, Numbers]]

SESSION = "sess_bench"
"""The session of the programs that have one only."""
MESSAGES_PER_TURN = 5
"""The user's, the model's with two calls, two results, the answer."""
CHUNKS_PER_READ = 20
"""Streamed chunks that arrive together; behind them the event loop gets its turn, as it would for a socket."""
_WINDOW = 20


def main(programs: Mapping[str, Program]) -> None:
    """Run the program named on the command line with its options (JSON) and print its numbers."""
    name, options = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(asyncio.run(programs[name](**options))))


async def cpu_of_turns(turn: Callable[[], Awaitable[object]], turns: int) -> list[float]:
    """Return the CPU milliseconds of each turn, over all threads. One more turn goes before: it opens the file."""
    await turn()
    spent: list[float] = []
    for _ in range(turns):
        before = time.process_time()
        await turn()
        spent.append((time.process_time() - before) * 1e3)
    return spent


def cost_of(spent: list[float], folder: str) -> Numbers:
    """Sum up: mean, first and last turns, bytes of all files in ``folder`` once they are closed."""
    used = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    first, last = statistics.median(spent[:_WINDOW]), statistics.median(spent[-_WINDOW:])
    return {
        "cpu_ms": statistics.fmean(spent),
        "first_ms": first,
        "last_ms": last,
        "growth": last / first,
        "bytes_per_message": used / ((len(spent) + 1) * MESSAGES_PER_TURN),
    }


async def rate_of(session_turns: Callable[[int], Awaitable[None]], sessions: int, turns: int) -> Numbers:
    """Run all sessions at once, each its turns one after the other; return turns per second of wall time."""
    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*(session_turns(number) for number in range(sessions)))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    count = sessions * turns
    return {"turns_per_s": count / wall, "cpu_ms": cpu / count * 1e3}


def check(measured: Any, expected: Any, what: str) -> None:
    """Refuse numbers of a program that did something else than it claims. Raises RuntimeError."""
    if measured != expected:
        raise RuntimeError(f"{what}: expected {expected!r}, got {measured!r}; these numbers would mean nothing.")
