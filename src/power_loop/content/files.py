"""Files: read beneath the roots that the host names, without following any link out of them."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from power_loop.facts.errors import ContentNotAllowed, ContentUnavailable
from power_loop.ports.beneath import open_beneath
from power_loop.ports.content import Attachment

_OUTSIDE = frozenset({errno.EXDEV})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})


def read_file(attachment: Attachment, path: Path, roots: Sequence[str], limit: int) -> bytes:
    """Return at most ``limit + 1`` bytes of a file; a relative path is looked up from here, and in each root.

    Raises ContentNotAllowed outside of every root, ContentUnavailable for what is not there or not a regular file.
    """
    if not roots:
        raise ContentNotAllowed(
            f"{attachment!r}: no paths are allowed. Name folders in AgentLoopConfig.content_roots, or send the bytes.",
            source=attachment.told,
        )
    failure: OSError | None = None
    for root, inside in _places(path, roots):
        try:
            with open_beneath(root, inside.as_posix()) as file:
                return file.read(limit + 1)
        except OSError as error:
            failure = error if failure is None or failure.errno in _ABSENT else failure
    if failure is None or failure.errno in _OUTSIDE:
        raise ContentNotAllowed(
            f"{attachment!r} lies outside of AgentLoopConfig.content_roots.", source=attachment.told
        ) from failure
    raise ContentUnavailable(f"{attachment!r} cannot be read: {failure.strerror}.", source=attachment.told) from failure


def _places(path: Path, roots: Sequence[str]) -> Iterator[tuple[Path, PurePath]]:
    """Yield where the path may lie: a root, and the way from there. Links are for the opening to judge."""
    whole = path.absolute()
    for root in map(Path, roots):
        for form in {root.absolute(), root.resolve()}:
            if whole.is_relative_to(form):
                yield root, whole.relative_to(form)
        if not path.is_absolute():
            yield root, path
