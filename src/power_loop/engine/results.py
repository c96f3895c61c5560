"""What is recorded of a tool's result: all of it where the model may see it all, else head, tail and a handle."""

from collections.abc import Mapping
from typing import NamedTuple

from power_loop.facts.blobs import blob_id
from power_loop.facts.entries import KeptResult
from power_loop.facts.jsontext import clean
from power_loop.facts.messages import Content, Text, clean_content, text_of
from power_loop.ports.blobs import NO_BLOBS
from power_loop.ports.reader import READ_RESULT
from power_loop.ports.tool_text import clip

MAX_KEPT = 16 << 20
"""Characters of one result that are kept; UTF-8 makes at most 64 MB of them."""


class Recorded(NamedTuple):
    """A result, ready for its entry, and the blobs that the entry refers to."""

    content: Content
    cleaned: bool
    whole: KeptResult | None = None
    blobs: Mapping[str, bytes] = NO_BLOBS


def to_record(content: Content, limit: int, handle: str, *, readable: bool, blobs: Mapping[str, bytes]) -> Recorded:
    """Make a result holdable and short enough for the model: at most ``limit`` characters of text.

    ``handle`` is what the model may call the rest by; ``readable``: it has a tool that reads it.
    """
    text = text_of(content)
    if len(text) <= limit:
        return Recorded(*clean_content(content), blobs=blobs)
    kept, dirty = clean(text[:MAX_KEPT])
    data = kept.encode()
    whole = KeptResult(blob_id(data), len(text), len(text) - len(kept))
    way = f'; {READ_RESULT}(handle="{handle}") reads and searches all of it' if readable else f"; kept as {handle}"
    shown = clean(clip(text, limit, way))[0]
    return Recorded(with_text(content, shown), dirty, whole, {**blobs, whole.blob: data})


def with_text(content: Content, text: str) -> Content:
    """Return the content with other text, where its first text was; images and documents stay."""
    if isinstance(content, str):
        return text
    media = [block for block in content if not isinstance(block, Text)]
    before = next((place for place, block in enumerate(content) if isinstance(block, Text)), 0)
    return (*media[:before], Text(text), *media[before:]) if text else tuple(media)
