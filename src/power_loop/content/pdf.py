"""The text of PDF files, by pypdf where it is installed. Files of strangers: whatever it raises is the file's fault."""

import logging
import time
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from power_loop.facts import jsontext
from power_loop.facts.errors import BrokenContent
from power_loop.ports.content import Attachment

MAX_TEXT = 2_000_000
"""Characters of text that are taken from one file: about a thousand full pages."""
GRACE = 10.0
"""Seconds beyond its time that the page gets which is being read then."""
_QUIET = logging.NullHandler()
_END = b"%%EOF"
_END_WITHIN = 1024
"""Bytes at the end of a file in which the end marker must stand, as readers have it since Acrobat."""


def can_extract() -> bool:
    """Tell whether pypdf is installed."""
    return find_spec("pypdf") is not None


def check_pdf(attachment: Attachment, data: bytes) -> None:
    """Check without pypdf that a file was not cut off. Raises BrokenContent."""
    if _END not in data[-_END_WITHIN:]:
        raise broken(attachment, "it has no end marker")


def pdf_text(attachment: Attachment, data: bytes, seconds: float) -> str:
    """Return the text of all pages; empty for scans. After ``seconds``, or MAX_TEXT characters, the rest is left out.

    Raises BrokenContent for a file that cannot be read at all.
    """
    until = time.monotonic() + seconds
    try:
        pages = _pages(data)
        count = len(pages)
    except Exception as error:
        raise broken(attachment, f"{type(error).__name__}: {error}"[:200]) from error
    if not count:
        raise broken(attachment, "it has no pages")
    texts: list[str] = []
    room = MAX_TEXT
    for number in range(count):
        if room <= 0 or time.monotonic() > until:
            texts.append(f"[... pages {number + 1} to {count} were not read ...]")
            break
        texts.append(_page_text(pages, number)[:room])
        room -= len(texts[-1])
    return "\n\n".join(filter(None, texts))


def _pages(data: bytes) -> Any:  # noqa: ANN401 -- pypdf's own
    from pypdf import PdfReader  # noqa: PLC0415 -- an extra, and slow to load

    logging.getLogger("pypdf").addHandler(_QUIET)  # else what it thinks of a file goes to stderr
    return PdfReader(BytesIO(data)).pages


def _page_text(pages: Any, number: int) -> str:  # noqa: ANN401 -- pypdf's own
    """Return a page's text; a page that cannot be read says so, and does not take the others with it."""
    try:
        return jsontext.clean(pages[number].extract_text().strip())[0]
    except Exception:  # noqa: BLE001 -- whatever the file provokes
        return f"[Page {number + 1} cannot be read.]"


def broken(attachment: Attachment, why: str) -> BrokenContent:
    """Return the error for a PDF file that cannot be read."""
    return BrokenContent(
        f"{attachment!r} is not a readable PDF file: {why}. Repair or decrypt it, or send its text.",
        source=attachment.told,
    )
