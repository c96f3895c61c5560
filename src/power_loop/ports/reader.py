"""The reader port: how a tool reads back what its own session has recorded, and nothing of any other session."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

READ_RESULT = "read_result"
"""Name of the tool that reads results which were too long; results name it where it is registered."""
SEARCH_HISTORY = "search_history"
"""Name of the tool that searches the session."""


class Said(msgspec.Struct, frozen=True):
    """What an entry says: ``seq`` its number, ``speaker`` a role, ``time`` wall milliseconds."""

    seq: int
    speaker: str
    time: int
    text: str


class SessionReader(Protocol):
    """Reads one session's journal: everything durable, also what a compaction has folded away.

    What a hook changed is read as the hook left it, what was erased or pruned is not there.
    """

    async def result(self, handle: str) -> str | None:
        """Return the whole text of the result of a call, by the handle that the model was shown; None: no such one."""
        ...

    async def search(self, query: str, limit: int = 10) -> Sequence[Said]:
        """Return excerpts around the words of a query, newest first; see ``SessionStore.search``."""
        ...

    async def said(self, seq: int) -> Said | None:
        """Return all that one entry says; None where it says nothing or is not there."""
        ...


class NoReader:
    """The reader of a ToolContext that belongs to no run: finds nothing."""

    async def result(self, handle: str) -> str | None:  # noqa: ARG002 -- the port's own
        """Find nothing."""
        return None

    async def search(self, query: str, limit: int = 10) -> Sequence[Said]:  # noqa: ARG002 -- the port's own
        """Find nothing."""
        return ()

    async def said(self, seq: int) -> Said | None:  # noqa: ARG002 -- the port's own
        """Find nothing."""
        return None
