"""Finding JSON in what a model wrote: alone, in a code fence, or with prose around it.

Values are read by a JSON parser from where they begin, so fences and braces inside their strings mean nothing.
"""

import json
import re
from typing import Any, Final

from power_loop.facts import jsontext

_MAX_TRIES: Final = 500
"""Places in one text at which a value is looked for; a hostile text gets no more work than that."""
_BEGINS: Final = re.compile(r"[{\[]")
_MEANT: Final = re.compile(r'\{\s*"|\[\s*[\[{"]')
"""What somebody writes who writes JSON, and not a word in brackets."""
_FENCED: Final = re.compile(r"\s*```[^\n]*\n(.*?)\n?```\s*", re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def json_values(text: str) -> list[Any]:
    """Return the JSON values in a text: the one that fills it, or else each object and array, in order.

    Line breaks inside strings are taken, NaN and numbers out of range are not. A text with a broken object or array
    has no values, lest a part of it be taken for the whole; but a comma before a closing bracket is overlooked.
    """
    found = _whole(text) or _within(text)
    if found:
        return found
    mended = _TRAILING_COMMA.sub(lambda match: match[1] or "", text)
    return _within(mended) if mended != text else []


def _whole(text: str) -> list[Any]:
    """Return the value of a text, or of a text that is one fence, where that is nothing but one value."""
    fenced = _FENCED.fullmatch(text)
    for candidate in (text, fenced[1] if fenced else ""):
        try:
            value, end = jsontext.parse_at(candidate, 0)
        except ValueError:
            continue
        if not candidate[end:].strip():
            return [value]
    return []


def _within(text: str) -> list[Any]:
    values, broken = _scan(text)
    return [] if broken is not None else values


def _scan(text: str) -> tuple[list[Any], ValueError | None]:
    """Return the values up to the first that is broken, and what is wrong with that."""
    values: list[Any] = []
    position = tries = 0
    while tries < _MAX_TRIES and (begin := _BEGINS.search(text, position)) is not None:
        tries += 1
        try:
            value, position = jsontext.parse_at(text, begin.start())
        except ValueError as error:
            if _MEANT.match(text, begin.start()):
                return values, error
            position = begin.end()
        else:
            values.append(value)
    return values, None


def why_none(text: str) -> str:
    """Say why no JSON value could be found in a text, in words a model can act on."""
    if not text.strip():
        return "The reply is empty."
    broken = _scan(text)[1]
    if broken is None:
        return "The reply contains no JSON object."
    cause = broken.__cause__
    cut = isinstance(cause, json.JSONDecodeError) and cause.pos >= len(text.rstrip())
    return f"The reply contains no valid JSON: {cause}.{' It ends in the middle.' if cut else ''}"
