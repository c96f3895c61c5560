"""A disk that forgets: a VFS that writes down every write and sync, and the disks that a power cut may leave.

A cut may come after any operation. Of the writes that no sync of their file has followed, each may be on the disk,
absent or torn, whatever the order they were made in. An fsync is honest. The first sync of a new journal or log
syncs its folder too, as SQLite's unix VFS does.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

SECTOR = 512
FOLDER = "."
LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


@dataclass(frozen=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True)
class Delete:
    file: str


@dataclass(frozen=True)
class Sync:
    file: str


@dataclass(frozen=True)
class Acknowledged:
    seq: int


Change = Write | Truncate | Delete
Operation = Change | Sync | Acknowledged


class RecordingFile(apsw.VFSFile):
    def __init__(self, base: str, name: object, flags: list[int], log: list[Operation]) -> None:
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name
        self._log = log
        self._new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & LOGS)
        super().__init__(base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 -- SQLite's names
        super().xWrite(data, offset)
        self._log.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._log.append(Truncate(self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._log.append(Sync(self._name))  # the page cache of this machine is not what is tested
        if self._new:
            self._log.append(Sync(FOLDER))
            self._new = False


class RecordingVFS(apsw.VFS):
    """Passes everything on to the real file system, and writes down what touches the disk."""

    def __init__(self, name: str, log: list[Operation]) -> None:
        self._log = log
        super().__init__(name, "")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return RecordingFile("", name, flags, self._log)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        name = Path(filename).name
        self._log.append(Delete(name))
        if syncdir:
            self._log.append(Sync(FOLDER))


@dataclass
class Disk:
    """What is surely on the disk, file by file, and what may be."""

    sure: dict[str, bytearray | None] = field(default_factory=dict)
    loose: dict[str, list[Change]] = field(default_factory=dict)
    acknowledged: int = 0

    def do(self, operation: Operation) -> None:
        if isinstance(operation, Acknowledged):
            self.acknowledged = operation.seq
        elif isinstance(operation, Sync) and operation.file == FOLDER:
            for name, changes in self.loose.items():
                if any(isinstance(change, Delete) for change in changes):
                    self.sure[name] = None
                    self.loose[name] = []
        elif isinstance(operation, Sync):
            for change in self.loose.pop(operation.file, []):
                apply(self.sure, change)
        else:
            self.loose.setdefault(operation.file, []).append(operation)

    def after_a_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return one disk that a cut may leave: loose changes kept, dropped, torn, in any order."""
        files = {name: None if content is None else bytearray(content) for name, content in self.sure.items()}
        keep = chance.choice([0.0, 0.5, 0.9, 1.0])
        for changes in self.loose.values():
            kept = [change for change in changes if chance.random() < keep]
            if chance.random() < 0.3:
                chance.shuffle(kept)
            for change in kept:
                apply(files, torn(change, chance))
        return {name: bytes(content) for name, content in files.items() if content is not None}


def torn(change: Change, chance: random.Random) -> Change:
    if not isinstance(change, Write) or chance.random() < 0.7:
        return change
    start, end = sorted(chance.randrange(0, len(change.data) + SECTOR, SECTOR) for _ in range(2))
    return Write(change.file, change.offset + start, change.data[start:end])


def apply(files: dict[str, bytearray | None], change: Change) -> None:
    if isinstance(change, Delete):
        files[change.file] = None
        return
    content = files.get(change.file)
    if content is None:
        content = files[change.file] = bytearray()
    if isinstance(change, Truncate):
        del content[change.size :]
    elif change.data:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data


def cuts(log: list[Operation], states: int, seed: int) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield ``(acknowledged, files)`` for about that many power cuts, spread over the whole log."""
    chance = random.Random(seed)
    per_point = max(1, states // max(1, len(log)))
    disk = Disk()
    for operation in log:
        disk.do(operation)
        for _ in range(per_point):
            yield disk.acknowledged, disk.after_a_cut(chance)
