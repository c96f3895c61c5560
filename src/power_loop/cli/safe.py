"""Text of sessions made safe to show: nothing in it can steer the terminal or turn the reading order."""

import re

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor moves
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"
)
_REPLACEMENT = "\ufffd"
_DROPPED = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F)),  # controls, except tab and new line
    *((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069)),  # reading order
    *((0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),  # invisible marks and tags
)
_TABLE: dict[int, str | None] = {code: None for first, last in _DROPPED for code in range(first, last + 1)}
_TABLE |= dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT)
_TABLE |= {0x2028: "\n", 0x2029: "\n"}


def safe(text: str) -> str:
    """Return the text without escape sequences, control characters, bidi controls and lone surrogates."""
    if text.isascii() and text.isprintable():
        return text
    return _SEQUENCE.sub("", text).translate(_TABLE)


def safe_line(text: str, limit: int = 200) -> str:
    """Return the text on one line of at most ``limit`` characters, made safe."""
    line = " ".join(safe(text[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
