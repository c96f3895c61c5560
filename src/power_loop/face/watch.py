"""Watching: a run's events as it goes, and any session's events from its journal."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from power_loop.decisions.events import Narrator, names_call, reply_seq
from power_loop.face.config import StatefulResult
from power_loop.facts.entries import RecordedCall
from power_loop.facts.events import AgentEvent
from power_loop.facts.journal import Entry
from power_loop.ports.store import SessionStore

_PAGE = 500
_SLOWEST_LOOK = 0.1
"""Seconds between looks at a quiet journal."""


async def watch_journal(
    store: SessionStore, session_id: str, *, after: int = 0, follow: bool = False
) -> AsyncIterator[AgentEvent]:
    """Yield each durable event behind ``after`` once, in order; with ``follow`` go on until the caller leaves."""
    narrator = Narrator(session_id)
    pause = 0.005
    first = after > 0
    while True:
        entries = await store.read(session_id, after=after, limit=_PAGE)
        if first and entries:
            first = False
            await _recall(narrator, store, session_id, entries)
        for entry in entries:
            after = entry.seq
            for event in narrator.tell(entry):
                yield event
        if entries:
            pause = 0.005
        elif not follow:
            return
        else:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _SLOWEST_LOOK)


async def _recall(narrator: Narrator, store: SessionStore, session_id: str, entries: Sequence[Entry]) -> None:
    """Find the reply that the first of these entries speaks of, where it lies before them, and what became of it."""
    for entry in entries:
        if entry.kind == "model_replied":
            return
        call = names_call(entry.fact)
        if call is not None:
            reply = reply_seq(call)
            if reply < entries[0].seq:
                for found in await store.read(session_id, after=reply - 1, limit=entries[0].seq - reply):
                    narrator.tell(found)
            return


Drive = Callable[["_Queue"], Coroutine[Any, Any, StatefulResult]]


class _Queue:
    """Listens to one run and keeps its events until they are asked for."""

    active = True

    def __init__(self) -> None:
        self.events: deque[AgentEvent] = deque()
        self.ready = asyncio.Event()
        self._narrators: dict[str, Narrator] = {}

    def on_recall(self, session_id: str, calls: Mapping[str, RecordedCall]) -> None:
        self._narrator(session_id).recall(calls)

    def on_entries(self, session_id: str, entries: Sequence[Entry]) -> None:
        narrator = self._narrator(session_id)
        for entry in entries:
            self.events.extend(narrator.tell(entry))
        self.ready.set()

    def on_event(self, event: AgentEvent) -> None:
        if not self.events:
            self.ready.set()
        self.events.append(event)

    def _narrator(self, session_id: str) -> Narrator:
        narrator = self._narrators.get(session_id)
        if narrator is None:
            narrator = self._narrators[session_id] = Narrator(session_id)
        return narrator


class AgentStream:
    """The events of one run, live: ``async for event in stream``. ``result`` is there when it is exhausted.

    Leaving early (``break``, ``aclose``) cancels the run.
    """

    def __init__(self, drive: Drive) -> None:
        self.result: StatefulResult | None = None
        self._drive = drive
        self._events = self._iterate()

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        return self._events

    async def __anext__(self) -> AgentEvent:
        return await self._events.__anext__()

    async def aclose(self) -> None:
        """Leave; a run that is not over is cancelled and waited for."""
        await self._events.aclose()  # type: ignore[attr-defined]

    async def _iterate(self) -> AsyncIterator[AgentEvent]:
        queue = _Queue()
        events, ready = queue.events, queue.ready
        task = asyncio.ensure_future(self._drive(queue))
        task.add_done_callback(lambda _task: ready.set())
        try:
            while True:
                while events:
                    yield events.popleft()
                if task.done():
                    self.result = task.result()
                    return
                ready.clear()
                await ready.wait()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
