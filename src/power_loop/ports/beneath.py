"""Opening a file beneath a folder. Each step is one ``openat`` without following links, so no race leads outside.

A symbolic link is read and walked the same way: it may lead anywhere beneath the root and nowhere else. This is
what Linux' ``openat2`` with ``RESOLVE_BENEATH`` does, for every POSIX system.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAX_LINKS = 40
"""Symbolic links on one path, as in Linux."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)
_MAYBE_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})


def _outside(path: str) -> OSError:
    return OSError(errno.EXDEV, "leads out of its root", path)


class _Walk:
    """The folders from the root down to where the walk is, open."""

    def __init__(self, root: str | Path, path: str) -> None:
        self.path = path
        self.parts = deque(path.split("/"))
        self.links = 0
        self.opened = [os.open(root, _FOLDER)]

    def run(self) -> int:
        """Return the descriptor of what the path names; the caller closes it."""
        while self.parts:
            part = self.parts.popleft()
            if part == "..":
                self._up()
            elif part not in {"", "."}:
                self._down(part)
        return self.opened.pop()

    def close(self) -> None:
        for fd in self.opened:
            os.close(fd)

    def _up(self) -> None:
        if len(self.opened) == 1:
            raise _outside(self.path)
        os.close(self.opened.pop())

    def _down(self, part: str) -> None:
        flags = (_FOLDER if self.parts else _READ) | os.O_NOFOLLOW
        try:
            self.opened.append(os.open(part, flags, dir_fd=self.opened[-1]))
        except OSError as error:
            if error.errno not in _MAYBE_LINK:
                raise
            self._link(part, error)

    def _link(self, part: str, why: OSError) -> None:
        try:
            target = os.readlink(part, dir_fd=self.opened[-1])
        except OSError:
            raise why from None
        self.links += 1
        if self.links > MAX_LINKS:
            raise OSError(errno.ELOOP, "too many symbolic links", self.path)
        if target.startswith("/"):
            raise _outside(self.path)
        self.parts.extendleft(reversed(target.split("/")))


@contextmanager
def open_beneath(root: str | Path, path: str | PurePosixPath) -> Iterator[BinaryIO]:
    """Open a regular file for reading; ``path`` is relative to ``root``, which is taken as it is.

    Raises OSError: with EXDEV where the path or a link on it leads out of the root, with EINVAL where it does not
    name a regular file, and otherwise as the operating system says. Never waits for a FIFO or a device.
    """
    text = str(path)
    if text.startswith("/"):
        raise _outside(text)
    walk = _Walk(root, text)
    try:
        fd = walk.run()
    finally:
        walk.close()
    with os.fdopen(_regular(fd, text), "rb") as file:
        yield file


def _regular(fd: int, path: str) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "is not a regular file", path)


def ancestors(start: str | Path, root: str | Path) -> Iterable[PurePosixPath]:
    """Return the folders from ``start`` up to ``root``, relative to it; raises ValueError for a start outside it."""
    relative = PurePosixPath(Path(start).resolve().relative_to(Path(root).resolve()).as_posix())
    return [relative, *relative.parents]
