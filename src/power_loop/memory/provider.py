"""SqliteMemory: a MemoryProvider on one SQLite file with full-text search. Calls no model and knows no engine."""

import inspect
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TypeAlias

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.errors import ConfigError
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.memory import sql
from power_loop.memory.file import MemoryFile
from power_loop.memory.words import query_of, terms_of
from power_loop.ports.memory import DEFAULT_MEMORY_BUDGET, MemorySnapshot, not_yet_told, within_budget, without_recalled
from power_loop.ports.tool_text import clip

DEFAULT_PATIENCE = 5.0
"""Seconds that a write waits for other processes."""
MAX_MEMORY_CHARS = 4_000
"""Characters of one memory; more is cut in the middle."""
CANDIDATES = 50
"""Memories that a recall looks at before it fills its budget."""

_REMEMBERED = frozenset({"completed", "hit_round_limit"})

Namespace: TypeAlias = str | Callable[[str], str]
"""Whose memories: one name for all, or a function of the session id that says whose session it is."""
Extract: TypeAlias = Callable[[MemorySnapshot], Sequence[str] | Awaitable[Sequence[str]]]
"""Says what of a run is worth remembering; it may ask a model."""


class Memory(msgspec.Struct, frozen=True):
    """One memory. Times are wall milliseconds; ``score`` is BM25, higher is nearer, 0 where nothing was searched."""

    id: int
    text: str
    namespace: str
    session_id: str
    created_at: int
    seen_at: int
    score: float = 0.0


def exchange(snapshot: MemorySnapshot) -> Sequence[str]:
    """Return question and answer of a run that was completed or hit its round limit; the default ``extract``."""
    said = without_recalled(snapshot.messages)
    asked = "\n".join(message.text.strip() for message in said if message.role is MessageRole.USER).strip()
    answered = snapshot.final_text.strip()
    if snapshot.status not in _REMEMBERED or not asked or not answered:
        return ()
    half = MAX_MEMORY_CHARS // 2 - len("Answered: ")
    return (f"Asked: {clip(asked, half)}\nAnswered: {clip(answered, half)}",)


class SqliteMemory:
    """Memories in a file of their own, apart from the sessions. Safe with several processes.

    Args:
        path: The file; made when first used.
        namespace: Whose memories; nothing is ever recalled across namespaces.
        extract: What of a run is remembered; question and answer by default.
        patience: Seconds that a write waits for other processes, then StoreBusy.
        clock: Where the times come from.

    Every method raises a StoreError where the file cannot be used; nothing is opened before the first call.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        namespace: Namespace = "",
        extract: Extract = exchange,
        patience: float = DEFAULT_PATIENCE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not str(path) or str(path).startswith(":"):
            raise ConfigError(f"SqliteMemory needs the path of a file, got {str(path)!r}.")
        self._file = MemoryFile(
            path, schema=sql.SCHEMA, application_id=sql.APPLICATION_ID, version=sql.VERSION, patience=patience
        )
        self._namespace = namespace
        self._extract = extract
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def recall(
        self, *, messages: Sequence[AgentMessage], session_id: str, budget_tokens: int = DEFAULT_MEMORY_BUDGET
    ) -> list[AgentMessage]:
        """Return memories that share a word with the newest input, the nearest first, within the budget.

        Left out is what the same session left, and what a note in ``messages`` says already.
        """
        said = [message for message in without_recalled(messages) if message.role is MessageRole.USER]
        query = query_of(said[-1].text[:MAX_MEMORY_CHARS]) if said else ""
        if not query:
            return []
        found = await self._find(query, self._namespace_of(session_id), CANDIDATES)
        texts = [memory.text for memory in found if memory.session_id != session_id or not session_id]
        return within_budget(not_yet_told(texts, messages), budget_tokens)

    async def remember(self, *, snapshot: MemorySnapshot, session_id: str) -> None:
        """Take in what ``extract`` finds in the snapshot; what is known already is only marked as seen again."""
        found = self._extract(snapshot)
        texts = await found if inspect.isawaitable(found) else found
        await self._add(texts, self._namespace_of(session_id), session_id)

    async def add(self, text: str, *, namespace: str | None = None, session_id: str = "") -> bool:
        """Remember a text; tell whether it was new. Case and white space make no difference.

        Raises ConfigError for a text without words.
        """
        if not text.strip():
            raise ConfigError("A memory needs some text.")
        return await self._add([text], self._namespace_of(session_id, namespace), session_id) > 0

    async def search(self, query: str, *, namespace: str | None = None, limit: int = 20) -> list[Memory]:
        """Return the memories nearest to the query's words, or the newest for a blank query."""
        where = self._namespace_of("", namespace)
        if not query.strip():
            return await self._rows(sql.NEWEST, {"namespace": where, "limit": limit})
        words = query_of(query[:MAX_MEMORY_CHARS])
        return await self._find(words, where, limit) if words else []

    async def forget(self, *ids: int) -> int:
        """Forget memories by id and return how many there were; their bytes leave the file."""
        return await self._forget(sql.FORGET_ID, [{"id": identity} for identity in ids])

    async def forget_session(self, session_id: str) -> int:
        """Forget what a session left, in every namespace, and return how many memories that were."""
        return await self._forget(sql.FORGET_SESSION, [{"session_id": session_id}])

    async def forget_namespace(self, namespace: str) -> int:
        """Forget everything of a namespace and return how many memories that were."""
        return await self._forget(sql.FORGET_NAMESPACE, [{"namespace": namespace}])

    async def close(self) -> None:
        """Close the file."""
        await self._file.close()

    def _namespace_of(self, session_id: str, given: str | None = None) -> str:
        if given is not None:
            return given
        return self._namespace(session_id) if callable(self._namespace) else self._namespace

    async def _find(self, query: str, namespace: str, limit: int) -> list[Memory]:
        return await self._rows(sql.SEARCH, {"query": query, "namespace": namespace, "limit": limit})

    async def _rows(self, statement: str, values: dict[str, Any]) -> list[Memory]:
        return await self._file.read(lambda db: [Memory(*row) for row in db.execute(statement, values)])

    async def _add(self, texts: Iterable[str], namespace: str, session_id: str) -> int:
        now = self._clock.now().wall_ms
        known = {"namespace": namespace, "session_id": session_id, "now": now}
        rows = [known | _columns(text) for text in texts if text.strip()]
        return await self._file.write(lambda db: _insert(db, rows)) if rows else 0

    async def _forget(self, statement: str, values: list[dict[str, Any]]) -> int:
        def work(db: sqlite3.Connection) -> int:
            forgotten = db.executemany(statement, values).rowcount
            db.execute(sql.MERGE_INDEX)  # until it is merged, the index keeps the words of what was deleted
            return forgotten

        return await self._file.write(work, erase=True) if values else 0


def _columns(text: str) -> dict[str, Any]:
    text = clip(jsontext.clean(text)[0].strip(), MAX_MEMORY_CHARS)
    digest = blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).digest()
    return {"text": text, "terms": terms_of(text), "digest": digest}


def _insert(db: sqlite3.Connection, rows: list[dict[str, Any]]) -> int:
    """Return how many rows are new."""
    added = db.executemany(sql.ADD, rows).rowcount
    db.executemany(sql.SEEN, rows)
    return added
