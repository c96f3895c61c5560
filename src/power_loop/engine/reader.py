"""The reader that a running tool gets: one session's journal, read when asked, from the run's own store."""

from collections.abc import Sequence

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.entries import (
    Fact,
    InputReceived,
    ModelReplied,
    Note,
    ReplyEdited,
    ResultEdited,
    ToolFinished,
)
from power_loop.facts.erasure import ERASED
from power_loop.facts.errors import BlobNotFound
from power_loop.facts.ids import reply_of
from power_loop.facts.journal import Entry
from power_loop.facts.messages import text_of
from power_loop.facts.words import excerpt, has_phrases, phrases_of, searchable
from power_loop.ports.reader import READ_RESULT, SEARCH_HISTORY, Said
from power_loop.ports.store import SessionStore

_PAGE = 200
_HITS_PER_FIND = 4
"""Entries asked for per find wanted: some only ask for a search, or were changed by a hook since."""
_OWN = frozenset({READ_RESULT, SEARCH_HISTORY})


class StoreReader:
    """Reads one session of a store; see SessionReader."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id

    async def result(self, handle: str) -> str | None:
        """Return the whole text of a result; see the port."""
        found = await self._final(handle)
        if isinstance(found, ResultEdited):
            return text_of(found.content)
        if found is None or text_of(found.content) == ERASED:
            return None
        if found.whole is None:
            return text_of(found.content)
        try:
            text = (await self._store.read_blob(found.whole.blob)).decode()
        except BlobNotFound:
            return None
        lacks = found.whole.lacks
        return f"{text}\n[... {lacks} more characters were not kept ...]" if lacks else text

    async def search(self, query: str, limit: int = 10) -> Sequence[Said]:
        """Return excerpts; see the port. A call that only searches, and what it gave back, is no find."""
        phrases = phrases_of(query)
        hits = await self._store.search(query, session_id=self._session_id, limit=limit * _HITS_PER_FIND)
        found: list[Said] = []
        for hit in hits:
            entry = await self._entry(hit.seq) if len(found) < limit else None
            text = await self._standing(entry) if entry is not None else ""
            if entry is not None and has_phrases(text, phrases):
                found.append(Said(entry.seq, _speaker(entry.fact), entry.time, excerpt(text, query)))
        return found

    async def said(self, seq: int) -> Said | None:
        """Return all that one entry says; see the port."""
        entry = await self._entry(seq)
        text = await self._standing(entry) if entry is not None else ""
        if entry is None or not text:
            return None
        fact = entry.fact
        if isinstance(fact, ToolFinished) and fact.whole is not None:
            text = await self.result(fact.call) or text
        return Said(seq, _speaker(fact), entry.time, text)

    async def blob(self, address: str, /) -> bytes:
        """Return bytes that the session refers to. Raises BlobNotFound for those of other sessions too."""
        if address not in await self._store.list_blobs(self._session_id):
            raise BlobNotFound(f"Session {self._session_id!r} refers to no blob {address!r}.", path=self._store.path)
        return await self._store.read_blob(address)

    async def _entry(self, seq: int) -> Entry | None:
        found = await self._store.read(self._session_id, after=seq - 1, limit=1)
        return found[0] if found and found[0].seq == seq else None

    async def _standing(self, entry: Entry) -> str:
        """Return what an entry says, unless a hook said otherwise later: then the entry of that change says it."""
        fact = entry.fact
        if isinstance(fact, ToolFinished):
            final = None if fact.name in _OWN else await self._final(fact.call)
            return searchable(entry.kind, entry.body) if isinstance(final, ToolFinished) else ""
        if isinstance(fact, ModelReplied | ReplyEdited):
            following = await self._entry(entry.seq + 1)
            edit = following.fact if following is not None else None
            if isinstance(edit, ReplyEdited):
                return ""
            shown = msgspec.structs.replace(fact, calls=tuple(call for call in fact.calls if call.name not in _OWN))
            return searchable(entry.kind, jsontext.encode(shown))
        return "" if entry.body_digest is not None else searchable(entry.kind, entry.body)

    async def _final(self, call: str) -> ToolFinished | ResultEdited | None:
        """Return the result of a call as hooks left it; both stand in the round that began with the call's reply."""
        found: ToolFinished | ResultEdited | None = None
        after = reply_of(call)
        while after is not None and (entries := await self._store.read(self._session_id, after=after, limit=_PAGE)):
            for entry in entries:
                fact = entry.fact
                if isinstance(fact, ToolFinished | ResultEdited) and fact.call == call:
                    found = fact
                elif isinstance(fact, ModelReplied):
                    return found
            after = entries[-1].seq
        return found


def _speaker(fact: Fact | None) -> str:
    if isinstance(fact, ToolFinished):
        return f"tool {fact.name}"
    if isinstance(fact, InputReceived | Note):
        return str(fact.role)
    return "tool" if isinstance(fact, ResultEdited) else "assistant"
