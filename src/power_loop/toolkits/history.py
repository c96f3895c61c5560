"""The ``search_history`` tool: what was said earlier in this session, also what a compaction has folded away."""

from collections.abc import Sequence
from datetime import UTC, datetime

from power_loop.ports.reader import SEARCH_HISTORY, Said
from power_loop.ports.tool_decorator import tool
from power_loop.ports.tool_text import clip
from power_loop.ports.tools import RegisteredTool, ToolContext, ToolHandlerResult

MAX_FINDS = 25
"""Finds that one call returns at most."""
MAX_SAID = 20_000
"""Characters of one original that are shown; the rest of a tool's result is for ``read_result``."""


@tool(name=SEARCH_HISTORY, effect="read")
async def _search_history(context: ToolContext, query: str = "", entry: int = 0, limit: int = 10) -> ToolHandlerResult:
    """Search everything said in this conversation, also what you no longer see, or bring one original back.

    Args:
        context: Whose conversation it is.
        query: Words that must all occur; beginnings of words are enough.
        entry: The number of a find, to read all of it instead of searching.
        limit: How many finds to return, newest first.
    """
    if entry:
        said = await context.session.said(entry)
        if said is None:
            return ToolHandlerResult(ok=False, content=f"Error: entry {entry} says nothing, or is not there.")
        return ToolHandlerResult(ok=True, content=f"{_head(said)}:\n{clip(said.text, MAX_SAID)}")
    if not query.strip():
        return ToolHandlerResult(ok=False, content="Error: give a query, or the number of an entry.")
    found = await context.session.search(query, min(max(limit, 1), MAX_FINDS))
    return ToolHandlerResult(ok=True, content=_told(found) or f"Nothing found for {query[:200]!r}.")


def search_history_tool() -> RegisteredTool:
    """Return the tool, ready for ``ToolRegistry.add`` or ``tools=[...]``."""
    return _search_history.registered


def _told(found: Sequence[Said]) -> str:
    return "\n".join(f"{_head(said)}: {' '.join(said.text.split())}" for said in found)


def _head(said: Said) -> str:
    when = datetime.fromtimestamp(said.time / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    return f"entry {said.seq}, {said.speaker}, {when} UTC"
