"""AGENTS.md: what a project says to whoever works in it. The nearest file wins. Format: https://agents.md."""

import errno
from codecs import getincrementaldecoder
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import ConfigError
from power_loop.ports.beneath import ancestors, open_beneath
from power_loop.ports.tagged import tagged

INSTRUCTION_FILES = ("AGENTS.md",)
"""Names that are looked for in each folder, the first found wins."""
MAX_INSTRUCTION_BYTES = 32 * 1024
"""Bytes of a file that the model is shown."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_Decoder = getincrementaldecoder("utf-8-sig")


class InstructionFile(msgspec.Struct, frozen=True):
    """A file for the model. ``path`` is relative to the root; ``size`` is the whole file's, in bytes."""

    path: str
    text: str
    size: int
    truncated: bool = False


class InstructionProblem(msgspec.Struct, frozen=True):
    """A file that was found and could not be used as it is, and why."""

    path: str
    message: str


class Instructions(msgspec.Struct, frozen=True):
    """What the search found: the nearest usable file, or None, and what a person should know of."""

    file: InstructionFile | None = None
    problems: tuple[InstructionProblem, ...] = ()

    def render(self) -> str:
        """Return the file as the model reads it; empty where there is none. The same file gives the same bytes."""
        if self.file is None or not self.file.text.strip():
            return ""
        body = self.file.text.strip()
        if self.file.truncated:
            body += f"\n[... cut: {self.file.path} has {self.file.size} bytes; read it for the rest ...]"
        head = f"Instructions of this project, from {self.file.path}. The user's words go before them."
        return f"{head}\n{tagged('project_instructions', body)}"


def discover_instructions(
    start: str | Path,
    root: str | Path,
    *,
    names: Sequence[str] = INSTRUCTION_FILES,
    limit: int = MAX_INSTRUCTION_BYTES,
) -> Instructions:
    """Look for an instruction file in ``start`` and each folder above it, up to and including ``root``.

    The nearest usable file is returned. A file that leads out of the root, cannot be read or is not UTF-8 is
    reported in ``problems`` and passed over; one longer than ``limit`` bytes is cut and reported. Reads a few
    files: from async code, call it in a thread. Raises ConfigError where ``start`` does not lie beneath ``root``,
    or a name is not that of a file.
    """
    if wrong := [name for name in names if "/" in name or name in {"", ".", ".."}]:
        raise ConfigError(f"An instruction file is looked for by its name in each folder; got {wrong[0]!r}.")
    try:
        folders = ancestors(start, root)
    except ValueError as error:
        raise ConfigError(f"{start} does not lie beneath {root}. Name a root above the working directory.") from error
    problems: list[InstructionProblem] = []
    for path in (folder / name for folder in folders for name in names):
        found = _read(root, path, limit, problems)
        if found is not None:
            return Instructions(found, tuple(problems))
    return Instructions(None, tuple(problems))


def _read(
    root: str | Path, path: PurePosixPath, limit: int, problems: list[InstructionProblem]
) -> InstructionFile | None:
    try:
        with open_beneath(root, path) as file:
            data = file.read(limit + 1)
            size = max(file.seek(0, 2), len(data))
        truncated = len(data) > limit
        text = _Decoder().decode(data[:limit], final=not truncated)
    except OSError as error:
        if error.errno not in _ABSENT:
            problems.append(InstructionProblem(str(path), f"skipped: {error.strerror}"))
        return None
    except UnicodeDecodeError as error:
        problems.append(InstructionProblem(str(path), f"skipped: not UTF-8 (byte {error.start})"))
        return None
    if truncated:
        problems.append(InstructionProblem(str(path), f"cut: {size} bytes, {limit} of them are shown"))
    return InstructionFile(str(path), jsontext.clean(text)[0], size, truncated)
