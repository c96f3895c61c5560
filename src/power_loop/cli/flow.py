"""Streaming text that breaks between words instead of within them."""

import re
from typing import IO

from rich.cells import cell_len

_PIECES = re.compile(r"\n|[^\S\n]+|\S+")


class Flow:
    """Writes pieces of text as they come; a word waits for its end, so that it stands on one line."""

    def __init__(self, stream: IO[str], width: int) -> None:
        self._stream = stream
        self._width = max(width, 20)
        self._column = 0
        self._held = ""
        self._gap = ""

    def write(self, text: str) -> None:
        """Take a piece of text and show what is complete of it."""
        pieces = _PIECES.findall(self._held + text)
        self._held = pieces.pop() if pieces and not pieces[-1].isspace() else ""
        for piece in pieces:
            self._put(piece)
        self._stream.flush()

    def end(self) -> None:
        """Show what is held back and end the line."""
        if self._held:
            self._put(self._held)
            self._held = ""
        if self._column:
            self._put("\n")
        self._gap = ""
        self._stream.flush()

    def _put(self, piece: str) -> None:
        if piece == "\n":
            self._stream.write("\n")
            self._column, self._gap = 0, ""
        elif piece.isspace():
            self._gap += piece.expandtabs(4)
        else:
            self._word(piece)

    def _word(self, word: str) -> None:
        if self._column and self._column + len(self._gap) + cell_len(word) > self._width:
            self._stream.write("\n")
            self._column, self._gap = 0, ""
        self._stream.write(self._gap + word)
        length = self._column + len(self._gap) + cell_len(word)
        self._column = length if length <= self._width else length % self._width
        self._gap = ""
