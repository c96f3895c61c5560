"""Runs the measured programs in child processes, the floor and ours in turns, and keeps what they say."""

import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["floor", "kernel"]
Sample: TypeAlias = dict[str, float]
Say: TypeAlias = Callable[[str], None]

ROLES: tuple[Role, Role] = ("floor", "kernel")
_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 120.0
"""Seconds that one child process may take."""


class MeasurementFailed(Exception):
    """A child process failed, took too long, or did something else than it claims."""


@dataclass(frozen=True)
class Samples:
    """What both programs said, run by run; the n-th of each ran next to each other."""

    floor: list[Sample] = field(default_factory=list)
    kernel: list[Sample] = field(default_factory=list)

    def of(self, role: Role, key: str) -> list[float]:
        """Return one number of every run."""
        return [sample[key] for sample in getattr(self, role)]


@dataclass(frozen=True)
class Bench:
    """How to measure: how often, where, and whom to tell about progress."""

    runs: int
    folder: Path
    say: Say
    verbose: bool = False

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this Python in the repository's root. Raises MeasurementFailed."""
        command = [sys.executable, *arguments]
        try:
            done = subprocess.run(
                command, cwd=_ROOT, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=_environment()
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(f"{' '.join(arguments[:3])} took more than {_PATIENCE:g} s.") from error
        if done.returncode != 0:
            raise MeasurementFailed(f"{' '.join(arguments[:3])} failed:\n{done.stderr.strip()[-2000:]}")
        return done

    def program(self, role: Role, name: str, folder: Path, **options: Any) -> Sample:
        """Run one program in a fresh process and return its numbers."""
        arguments = json.dumps({"folder": str(folder), **options})
        numbers: Sample = json.loads(self.python("-m", f"benchmarks.{role}", name, arguments).stdout)
        return numbers

    def samples(self, measure: Callable[[Role], Sample]) -> Samples:
        """Measure floor, kernel, floor, kernel, ... so that a noisy moment meets both."""
        samples = Samples()
        for run in range(self.runs):
            for role in ROLES:
                sample = measure(role)
                getattr(samples, role).append(sample)
                if self.verbose:
                    numbers = "  ".join(f"{key} {value:.4g}" for key, value in sample.items())
                    self.say(f"  run {run + 1}, {role}: {numbers}")
        return samples

    def programs(self, name: str, **options: Any) -> Samples:
        """Measure a program of the floor and of the kernel, each run in a folder and a process of its own."""

        def measure(role: Role) -> Sample:
            with self.scratch() as folder:
                return self.program(role, name, folder, **options)

        return self.samples(measure)

    @contextmanager
    def scratch(self, copy_of: Path | None = None) -> Iterator[Path]:
        """Give a new folder, removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            if copy_of is not None:
                shutil.copytree(copy_of, name, dirs_exist_ok=True)
            yield Path(name)


def _environment() -> dict[str, str]:
    """Return this environment without what slows Python down on purpose."""
    slow = (
        "PYTHONDEVMODE",
        "PYTHONASYNCIODEBUG",
        "PYTHONTRACEMALLOC",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONDONTWRITEBYTECODE",
    )
    return {key: value for key, value in os.environ.items() if key not in slow}


def machine(folder: Path) -> dict[str, Any]:
    """Return what the numbers were measured on; ``load`` is the number of busy processes of the last minute."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 2),
        "filesystem": filesystem(folder),
    }


def filesystem(folder: Path) -> str:
    """Return the type of a folder's file system where the system tells: on ``tmpfs`` a sync costs nothing."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    mounts = [line.split()[1:3] for line in lines]
    parents = {str(folder), *map(str, folder.resolve().parents)}
    _, kind = max(
        ((point, kind) for point, kind in mounts if point in parents), key=lambda m: len(m[0]), default=("", "unknown")
    )
    return kind
