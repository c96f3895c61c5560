"""Remembering: memory is told of a run once its end is durable, while the reply is on its way to the host."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from power_loop.decisions.endings import final_text
from power_loop.decisions.said import said
from power_loop.decisions.state import State
from power_loop.engine.services import Listener
from power_loop.facts.events import AgentEvent, AgentEventType, MemoryFailedPayload
from power_loop.ports.memory import MemoryProvider, MemorySnapshot
from power_loop.ports.store import SessionStore

PATIENCE = 10.0
"""Seconds that closing a loop waits for memory to take in what it was told."""

LONGEST = 120.0
"""Seconds that memory may take over one run, so that what hangs does not pile up."""
GRACE = 1.0
"""Seconds that it gets to end once it is cut off."""

logger = logging.getLogger("power_loop")
_Task = asyncio.Task[None]


class _Turn(NamedTuple):
    """A run that memory is being told of; ``over`` is heard from any event loop."""

    session_id: str
    run: int
    over: Future[None]


class Remembering:
    """The tasks that tell memory; each ends by itself, or with the loop that holds it."""

    def __init__(self, store: SessionStore, listeners: Sequence[Listener]) -> None:
        self._store = store
        self._listeners = listeners
        self._under_way: dict[_Task, _Turn] = {}

    def soon(self, provider: MemoryProvider, session_id: str, state: State) -> None:
        """Tell memory of the run that has just ended; waiting calls make no end."""
        if state.ended is None or state.ended.status == "pending_tools" or not state.told.since:
            return
        snapshot = MemorySnapshot(
            session_id, final_text=final_text(state), rounds=state.rounds, status=state.ended.status
        )
        work = self._remember(provider, snapshot, state.told.since, state.head_seq, state.run)
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[task] = _Turn(session_id, state.run, Future())
        task.add_done_callback(self._over)

    async def _remember(
        self, provider: MemoryProvider, snapshot: MemorySnapshot, since: int, head: int, run: int
    ) -> None:
        try:
            record = await self._store.get(snapshot.session_id)
            entries = await self._store.read(snapshot.session_id, after=since - 1, limit=head - since + 1)
            messages = said(entry for entry in entries if entry.seq <= head)
            told = msgspec.structs.replace(snapshot, messages=messages, metadata=record.metadata)
            async with asyncio.timeout(LONGEST):
                await provider.remember(snapshot=told, session_id=told.session_id)
        except Exception as error:  # noqa: BLE001 -- a host's provider may raise anything
            self._failed(snapshot.session_id, run, error)

    def _failed(self, session_id: str, run: int, error: Exception) -> None:
        logger.warning("Memory could not remember %s: %s: %s", session_id, type(error).__name__, error)
        payload = MemoryFailedPayload("remember", type(error).__name__, str(error))
        event = AgentEvent(AgentEventType.MEMORY_FAILED, payload, session_id, 0, None, run)
        for listener in self._listeners:
            listener.on_event(event)

    def _over(self, task: _Task) -> None:
        turn = self._under_way.pop(task)
        if task.cancelled():
            self._failed(turn.session_id, turn.run, TimeoutError("it was cut off before it was done"))
        turn.over.set_result(None)

    async def drain(self, session_id: str | None = None) -> None:
        """Wait until memory has taken everything in, or what concerns one session; also on other event loops.

        What takes longer than PATIENCE is cut off.
        """
        if await self._wait(session_id, PATIENCE):
            for task, turn in tuple(self._under_way.items()):
                if session_id in {None, turn.session_id}:
                    with contextlib.suppress(RuntimeError):  # its event loop is closed
                        task.get_loop().call_soon_threadsafe(task.cancel)
            await self._wait(session_id, GRACE)

    async def _wait(self, session_id: str | None, seconds: float) -> bool:
        """Wait for what is under way; tell whether something is left."""
        under_way = tuple(self._under_way.values())
        waiting = [asyncio.wrap_future(turn.over) for turn in under_way if session_id in {None, turn.session_id}]
        if not waiting:
            return False
        _, left = await asyncio.wait(waiting, timeout=seconds)
        return bool(left)
