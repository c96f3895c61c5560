"""Two kinds of ``flock``: the one that proves a driver alive, and the one around every write to the database.

An flock ends with its process, also while stopped, in another PID namespace, or killed at any instruction.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from power_loop.facts.errors import StoreBusy
from power_loop.facts.ids import new_id

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.01
_LABEL_BYTES = 64


def _close(fd: int | None) -> None:
    if fd is not None:
        with suppress(OSError):
            os.close(fd)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _is_still(fd: int, path: Path) -> bool:
    """Tell whether the open file is the one that the path names now."""
    try:
        return _same(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


class Driver:
    """This process's driver id at one database, and the lock file that tells others whether it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mutex = threading.Lock()
        self._owner: str | None = None
        self._fd: int | None = None

    @property
    def owner(self) -> str:
        """The driver id; made, and its lock taken, on first use. Raises OSError."""
        with self._mutex:
            if self._owner is None:
                self._owner, self._fd = self._register()
            return self._owner

    @property
    def known_owner(self) -> str | None:
        """The driver id if there is one yet."""
        return self._owner

    def _register(self) -> tuple[str, int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            owner = new_id(f"driver_{os.getpid()}")
            path = self._file(owner)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                registered = _is_still(fd, path)
            except BlockingIOError:  # a collector looks at the file in this very moment
                registered = False
            if registered:
                return owner, fd
            _close(fd)

    def _file(self, owner: str) -> Path:
        return self.folder / f"{owner}.lock"

    def is_dead(self, owner: str) -> bool:
        """Tell whether a driver is dead for certain: its file is there and its lock can be taken."""
        if owner == self._owner or "/" in owner:
            return False
        try:
            fd = os.open(self._file(owner), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            _close(fd)
        return True

    def strangers(self) -> list[str]:
        """Return the drivers that have a file here, apart from this one."""
        with suppress(OSError):
            return [file.stem for file in self.folder.glob("*.lock") if file.stem != self._owner]
        return []

    def collect(self, strangers: Iterable[str], named: Iterable[str]) -> None:
        """Remove the files of dead drivers that no lease names."""
        for owner in set(strangers).difference(named):
            if self.is_dead(owner):
                with suppress(OSError):
                    self._file(owner).unlink()

    def close(self, *, remove: bool) -> None:
        """Let go of the lock; ``remove`` the file too where no lease names it."""
        with self._mutex:
            if remove and self._owner is not None:
                with suppress(OSError):
                    self._file(self._owner).unlink()
            _close(self._fd)
            self._owner = self._fd = None

    def abandon(self) -> None:
        """Close what a forked child has inherited, so that it does not keep a dead parent alive."""
        _close(self._fd)


class Sidecar:
    """An exclusive lock around every write transaction, checkpoint and closing of a writing connection.

    SQLite 3.7.0 to 3.51.2 can corrupt a file when a checkpoint of one connection races a commit of another.
    The lock also names its holder, and its wait is bounded even when the holder is stopped.
    """

    def __init__(self, path: Path, *, database: str, patience: float) -> None:
        self.path = path
        self._name = os.fspath(path)
        self._database = database
        self._patience = patience
        self._fd = -1
        self._opened: os.stat_result | None = None

    def lock(self, label: str) -> None:
        """Take the lock. Raises StoreBusy naming the holder after the patience, OSError."""
        fd = self._acquire()
        try:
            name = label.encode().ljust(_LABEL_BYTES)
            if os.pread(fd, _LABEL_BYTES, 0) != name:  # reading dirties nothing
                os.pwrite(fd, name, 0)
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Let go of the lock."""
        if self._opened is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _acquire(self) -> int:
        deadline: float | None = None
        pause = _FIRST_PAUSE
        while True:
            opened = self._opened or self._open()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                deadline = deadline or time.monotonic() + self._patience
                if time.monotonic() >= deadline:
                    raise self._busy(self._fd) from None
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            try:
                if _same(os.stat(self._name), opened):  # noqa: PTH116 -- once per commit: Path costs more than the call
                    return self._fd
            except FileNotFoundError:
                pass
            self.close()

    def _open(self) -> os.stat_result:
        """Open the file, and return what it is."""
        self._fd = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._opened = os.fstat(self._fd)
        return self._opened

    def _busy(self, fd: int) -> StoreBusy:
        holder = os.pread(fd, _LABEL_BYTES, 0).decode(errors="replace").strip("\0 ")
        return StoreBusy(
            f"{holder or 'Another process'} has held the write lock of {self._database} for {self._patience:g} s. "
            f"It may be stopped: continue or kill it, and retry.",
            path=self._database,
            holder=holder,
        )

    def close(self) -> None:
        """Close the file, and with it the lock if it is held."""
        if self._opened is not None:
            _close(self._fd)
            self._opened = None


class Hold:
    """``with`` the sidecar's lock, as ``label``. A class: a generator would cost twice as much, at every commit."""

    __slots__ = ("_label", "_sidecar")

    def __init__(self, sidecar: Sidecar, label: str) -> None:
        self._sidecar = sidecar
        self._label = label

    def __enter__(self) -> None:
        self._sidecar.lock(self._label)

    def __exit__(self, *_: object) -> None:
        self._sidecar.unlock()
