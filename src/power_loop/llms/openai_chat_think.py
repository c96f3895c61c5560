"""Takes ``<think>`` passages out of a model's text while it streams."""

OPEN_TAG, _CLOSE_TAG = "<think>", "</think>"


class ThinkSplitter:
    """Tells thought from text, also where a tag is cut in two by the stream.

    Line breaks right behind a tag belong to neither.
    """

    __slots__ = ("_held", "_trim", "inside")

    def __init__(self) -> None:
        self.inside = False
        self._held = ""
        self._trim = False

    def is_plain(self, text: str) -> bool:
        """Tell whether the text needs no splitting at all."""
        return not (self.inside or self._held or self._trim or "<" in text)

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Return (is thought, text) pieces in order; a possible beginning of a tag is held back."""
        text = self._held + text
        self._held = ""
        pieces: list[tuple[bool, str]] = []
        while text:
            tag = _CLOSE_TAG if self.inside else OPEN_TAG
            before, found, after = text.partition(tag)
            if not found:
                kept = _beginning_of(tag, text)
                self._held = text[len(text) - kept :]
                before = text[: len(text) - kept]
            self._add(pieces, before)
            if found:
                self.inside = not self.inside
                self._trim = True
            text = after
        return pieces

    def _add(self, pieces: list[tuple[bool, str]], text: str) -> None:
        if self._trim:
            text = text.lstrip("\r\n")
            self._trim = not text
        if text:
            pieces.append((self.inside, text))

    def flush(self) -> list[tuple[bool, str]]:
        """Return what was held back, at the end of the reply."""
        held, self._held = self._held, ""
        return [(self.inside, held)] if held else []


def _beginning_of(tag: str, text: str) -> int:
    """Return how many characters at the end of the text could begin the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0
