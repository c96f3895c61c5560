"""Runs jobs on fork servers, and works out where there is something to kill."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("crash_server.py")
DEEP = os.environ.get("POWER_LOOP_DEEP") == "1"
SERVERS = min(os.cpu_count() or 1, 4)

Job = dict[str, Any]
Verdict = dict[str, Any]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where the system has one: these processes are killed, the machine's power is not cut."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="power-loop-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """A few fork servers; each is used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self.killed = 0
        self._servers = [
            subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(SERVERS)
        ]

    def play(self, jobs: Sequence[Job]) -> list[Verdict]:
        """Play jobs; the verdicts come in the order of the jobs."""
        mine = [jobs[index :: len(self._servers)] for index in range(len(self._servers))]
        with ThreadPoolExecutor(len(self._servers)) as pool:
            parts = list(pool.map(self._play_on, self._servers, mine))
        verdicts = [parts[index % len(parts)][index // len(parts)] for index in range(len(jobs))]
        self.killed += deaths(verdicts)
        return verdicts

    def _play_on(self, server: "subprocess.Popen[str]", jobs: Sequence[Job]) -> list[Verdict]:
        assert server.stdin is not None
        assert server.stdout is not None
        verdicts = []
        for job in jobs:
            folder = self._folder / str(next(self._numbers))
            server.stdin.write(json.dumps(job | {"folder": str(folder)}) + "\n")
            server.stdin.flush()
            verdicts.append(json.loads(server.stdout.readline()))
            shutil.rmtree(folder, ignore_errors=True)
        return verdicts

    def undisturbed(self, scenario: str, faults: Sequence[str] = ()) -> Verdict:
        """What the last driver of a scenario does and leaves behind, after drivers that died."""
        (verdict,) = self.play([{"scenario": scenario, "faults": list(faults)}])
        assert verdict["problems"] == []
        return verdict

    def close(self) -> None:
        for server in self._servers:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.close()
            server.wait(30)
            server.stdout.close()


def around(what: str, number: int) -> list[str]:
    """Points before and after each of the first ``number`` things of a kind."""
    return [f"{what}:{n}:{moment}" for n in range(1, number + 1) for moment in ("before", "after")]


def complaints(jobs: Sequence[Job], verdicts: Sequence[Verdict]) -> list[str]:
    """What is wrong, and under which faults."""
    return [
        f"{job['scenario']} {' then '.join(job['faults'])}: {problem}"
        for job, verdict in zip(jobs, verdicts, strict=True)
        for problem in verdict["problems"]
    ]


def deaths(verdicts: Sequence[Verdict]) -> int:
    """How many processes were killed."""
    return sum(sum(verdict["killed"]) for verdict in verdicts)
