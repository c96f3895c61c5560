"""Sessions by the id that a person types: whole, abbreviated, or ``last``."""

from pathlib import Path

from power_loop.cli.exits import AmbiguousSession
from power_loop.facts.errors import SessionNotFoundError, StoreUnavailable
from power_loop.ports.store import SessionStore
from power_loop.stores import open_store

LAST = "last"
"""Stands for the newest session."""
_PAGE = 500
_NAMED = 3
"""Candidates that an error names."""


def open_existing(path: str) -> SessionStore:
    """Open a store that must be there: looking creates no file. Raises StoreUnavailable."""
    if path != ":memory:" and not Path(path).expanduser().is_file():
        raise StoreUnavailable(
            f"There is no database at {path}. Check --db, or start a session with: power-loop run TASK", path=path
        )
    return open_store(path)


async def find_session(store: SessionStore, typed: str) -> str:
    """Return the id that ``typed`` means: an id, the beginning of exactly one, or ``last``.

    The prefix ``sess_`` may be left out. Raises SessionNotFoundError, AmbiguousSession.
    """
    try:
        return (await store.get(typed)).id
    except SessionNotFoundError:
        if not typed:
            raise
    if typed == LAST and (newest := await store.list(limit=1)):
        return newest[0].id
    matches = await _matches(store, typed)
    if not matches:
        raise SessionNotFoundError(typed)
    if len(matches) > 1:
        some = ", ".join(matches[:_NAMED]) + (", ..." if len(matches) > _NAMED else "")
        raise AmbiguousSession(f"{typed!r} is the beginning of several sessions: {some}. Type more of it.", typed)
    return matches[0]


async def _matches(store: SessionStore, typed: str) -> list[str]:
    found: list[str] = []
    before: str | None = None
    while page := await store.list(limit=_PAGE, before=before):
        found += [record.id for record in page if record.id.startswith((typed, f"sess_{typed}"))]
        before = page[-1].id
    return found
