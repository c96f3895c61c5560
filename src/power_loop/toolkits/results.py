"""The ``read_result`` tool: any part of a result that was too long to be shown, and where something stands in it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Literal

from power_loop.ports.reader import READ_RESULT
from power_loop.ports.tool_decorator import tool
from power_loop.ports.tools import RegisteredTool, ToolContext, ToolHandlerResult

MAX_READ = 20_000
"""Characters that one call returns at most."""
MAX_FOUND = 50
"""Places that one search names at most."""
_BEFORE, _AFTER = 100, 200
"""Characters of the same line that are shown around a place."""
_PIECE, _STEP = 500, 400
"""A long line is searched in pieces of so many characters, each beginning so many behind the one before."""


@tool(name=READ_RESULT, effect="read")
async def _read_result(
    context: ToolContext,
    handle: str,
    start: int = 0,
    length: int = 10_000,
    unit: Literal["characters", "lines"] = "characters",
    pattern: str = "",
    regex: bool = False,
) -> ToolHandlerResult:
    """Read a part of a tool result of which only head and tail were shown, or search it.

    Args:
        context: Whose session it is.
        handle: The name that the shortened result gives, such as call_12_0.
        start: Where to begin, counted from 0; below 0, counted from the end.
        length: How much to read, in units; what one call returns is bounded.
        unit: What start and length count.
        pattern: Return the places where this stands, from start on, instead of the text itself.
        regex: Whether pattern is a regular expression, searched line by line; (?i) ignores case.
    """
    text = await context.session.result(handle)
    if text is None:
        return ToolHandlerResult(ok=False, content=f"Error: there is no result {handle[:80]!r} in this session.")
    try:
        told = await asyncio.to_thread(_told, text, start, length, unit, pattern, regex)
    except ValueError as error:
        return ToolHandlerResult(ok=False, content=f"Error: {error}")
    return ToolHandlerResult(ok=True, content=told)


def read_result_tool() -> RegisteredTool:
    """Return the tool, ready for ``ToolRegistry.add`` or ``tools=[...]``; where it is, shortened results name it."""
    return _read_result.registered


def _told(text: str, start: int, length: int, unit: str, pattern: str, regex: bool) -> str:
    lines = [len(line) + 1 for line in text.split("\n")] if unit == "lines" else []
    begin = min(sum(lines[:start]), len(text)) if lines else slice(start, None).indices(len(text))[0]
    if pattern:
        return _search(text, begin, pattern, regex)
    if lines:
        first = slice(start, None).indices(len(lines))[0]
        length = sum(lines[first : first + max(length, 1)])
    return _read(text, begin, max(length, 1))


def _read(text: str, begin: int, length: int) -> str:
    part = text[begin : begin + min(length, MAX_READ)]
    end = begin + len(part)
    first = text.count("\n", 0, begin)
    head = f"[characters {begin} to {end} of {len(text)}, from line {first}"
    more = f"; start={end}, unit=characters reads on]" if end < len(text) else "; this is the end]"
    return f"{head}{more}\n{part}"


def _search(text: str, begin: int, pattern: str, regex: bool) -> str:
    """Return the places found, each with its character, its line and what stands around. Raises ValueError."""
    places = _matching(text, begin, _matcher(pattern)) if regex else _literal(text, begin, pattern)
    found: list[str] = []
    line, counted = 0, 0
    for place in places:
        if len(found) == MAX_FOUND:
            found.append(f"[... and more; start={place} searches on ...]")
            break
        line, counted = line + text.count("\n", counted, place), place
        around = text[max(text.rfind("\n", 0, place) + 1, place - _BEFORE) : place + _AFTER].partition("\n")[0]
        found.append(f"character {place}, line {line}: {around}")
    return "\n".join(found) or f"Nothing found from character {begin} of {len(text)} on."


def _literal(text: str, begin: int, pattern: str) -> Iterator[int]:
    place = text.find(pattern, begin)
    while place >= 0:
        yield place
        place = text.find(pattern, place + len(pattern))


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text matches, in time linear in the text: models write the patterns."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # noqa: PLC0415 -- when first needed

    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python
    except SchemaError as error:
        raise ValueError(f"{pattern[:200]!r} is not a regular expression that can be searched: {error}") from error


def _matching(text: str, begin: int, matches: Callable[[str], bool]) -> Iterator[int]:
    """Yield where the pieces of text begin that match; of pieces that overlap only the first."""
    free = place = begin
    for line in text[begin:].split("\n"):
        for start in range(place, place + max(len(line) - _PIECE + _STEP, 1), _STEP):
            if start >= free and matches(text[start : min(start + _PIECE, place + len(line))]):
                yield start
                free = start + _PIECE if len(line) > _PIECE else start
        place = free = max(place + len(line) + 1, 0)
