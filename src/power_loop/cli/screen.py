"""Where a command writes: answers and documents to stdout, everything about them to stderr."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from power_loop.cli.exits import error_document, error_line
from power_loop.cli.safe import safe


class Screen:
    """Two consoles. With ``as_json`` stdout gets JSON only and stderr stays quiet."""

    def __init__(self, *, as_json: bool = False, no_color: bool = False) -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal that cannot write a character gets its number
                stream.reconfigure(errors="backslashreplace")
        color = True if no_color else None  # None: rich asks NO_COLOR
        self.as_json = as_json
        self.out = Console(no_color=color, highlight=False, markup=False, emoji=False)
        self.err = Console(no_color=color, highlight=False, markup=False, emoji=False, stderr=True, quiet=as_json)

    def document(self, value: object) -> None:
        """Write one JSON document; non-ASCII is escaped, so that no text in it reaches the terminal as it is."""
        print(json.dumps(value, default=str, indent=2), flush=True)

    def note(self, text: str, style: str = "dim") -> None:
        """Say something about the work, on stderr."""
        self.err.print(Text(safe(text), style), soft_wrap=True)

    def fail(self, error: BaseException) -> None:
        """Say what went wrong: one line on stderr, or one document on stdout."""
        if self.as_json:
            self.document(error_document(error))
            return
        self.err.print(Text.assemble(("power-loop: ", "bold red"), safe(error_line(error))), soft_wrap=True)


def plain(value: Any) -> Any:  # noqa: ANN401 -- any JSON-like value
    """Return a value as JSON can say it: mappings and sequences copied, what has no JSON form as text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
