"""Where a request asks for its prefix to be cached.

From each marker the API looks back over 20 content blocks for a prefix that it knows (platform.claude.com, "Prompt
caching"), and takes four markers: one stays behind the tools and the system text, three follow the conversation.
"""

from collections.abc import Sequence
from typing import Final

TAIL_MARKERS: Final = 3
MAX_GAP: Final = 15
"""Blocks between two markers: fewer than the API looks back over, so that no prefix is missed between them."""
_UNMARKABLE = (b'{"type":"thinking"', b'{"type":"redacted_thinking"')


def tail_positions(blocks: Sequence[bytes], before: int) -> list[int]:
    """Return the positions of the blocks to mark, last first.

    The last block is marked, and from there on back one at most every MAX_GAP blocks. ``before`` is the position of
    the last block that the previous request had, -1 where there was none: where so much came since that the markers
    would not reach it, the last of them is set there, since that prefix is known whatever its distance.
    """
    positions: list[int] = []
    last = _markable(blocks, range(len(blocks) - 1, -1, -1))
    while last is not None and len(positions) < TAIL_MARKERS:
        positions.append(last)
        target = max(last - MAX_GAP, 0)
        if target < before < last or (len(positions) == TAIL_MARKERS - 1 and 0 <= before < target):
            target = before
        last = _markable(blocks, range(target, last))
        if last is None:
            last = _markable(blocks, range(target - 1, -1, -1))
    return positions


def _markable(blocks: Sequence[bytes], candidates: range) -> int | None:
    return next((at for at in candidates if not blocks[at].startswith(_UNMARKABLE)), None)
