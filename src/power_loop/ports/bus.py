"""The event bus: who hears of events. A subscriber that fails is logged and never breaks a run."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from power_loop.facts.events import AgentEvent, AgentEventType

EventHandler: TypeAlias = Callable[[AgentEvent], Awaitable[None] | None]

PATIENCE = 5.0
"""Seconds that a run waits in the end for its async subscribers."""

logger = logging.getLogger("power_loop")


class AgentEventBus:
    """Hands events to subscribers, in priority order (lower first), those of all types before those of one.

    With ``suppress_subscriber_errors=False`` (default) a failing subscriber is logged with its traceback, with
    True it is logged in one line; neither reaches the run.
    """

    def __init__(self, *, suppress_subscriber_errors: bool = False) -> None:
        self._quiet = suppress_subscriber_errors
        self._handlers: dict[AgentEventType | None, list[tuple[int, EventHandler]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def subscribe(self, event_type: AgentEventType | str | None, handler: EventHandler, *, priority: int = 0) -> None:
        """Add a handler for one type, or for all with None."""
        key = None if event_type is None else AgentEventType(event_type)
        chain = self._handlers.setdefault(key, [])
        chain.append((priority, handler))
        chain.sort(key=lambda item: item[0])

    def unsubscribe(self, handler: EventHandler) -> None:
        """Remove a handler wherever it was subscribed; unknown ones are ignored."""
        for key in list(self._handlers):
            kept = [item for item in self._handlers[key] if item[1] is not handler]
            if kept:
                self._handlers[key] = kept
            else:
                del self._handlers[key]

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return bool(self._handlers)

    def publish(self, event: AgentEvent) -> None:
        """Call sync subscribers now; start async ones as tasks where a loop runs."""
        for key in (None, event.type):
            for _, handler in tuple(self._handlers.get(key, ())):
                self._call(handler, event)

    async def publish_async(self, event: AgentEvent) -> None:
        """Publish and wait for every subscriber."""
        self.publish(event)
        await self.drain()

    async def drain(self, patience: float = PATIENCE) -> None:
        """Wait for async subscribers that are still at work on this loop, at most ``patience`` seconds."""
        loop = asyncio.get_running_loop()
        mine = [task for task in self._tasks if task.get_loop() is loop and task is not asyncio.current_task()]
        if mine:
            _, slow = await asyncio.wait(mine, timeout=patience)
            if slow:
                logger.warning("%d subscriber call(s) are still at work after %g s; not waiting", len(slow), patience)

    def _call(self, handler: EventHandler, event: AgentEvent) -> None:
        try:
            answer = handler(event)
            if inspect.isawaitable(answer):
                task = asyncio.get_running_loop().create_task(self._finish(answer, event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Exception as error:  # noqa: BLE001 -- a subscriber may raise anything and must not break a run
            self._complain(error, event)

    async def _finish(self, answer: Awaitable[None], event: AgentEvent) -> None:
        try:
            await answer
        except Exception as error:  # noqa: BLE001 -- as above
            self._complain(error, event)

    def _complain(self, error: Exception, event: AgentEvent) -> None:
        logger.warning(
            "A subscriber of %s failed: %s: %s",
            event.type,
            type(error).__name__,
            error,
            exc_info=None if self._quiet else error,
        )
