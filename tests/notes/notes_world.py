"""What the tests of notes share: memories that tell what they were asked, and looks at a journal."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from power_loop import AgentEvent, AgentEventBus, AgentMessage, Entry, MemorySnapshot
from power_loop.facts.entries import Note


class Memory:
    """Recalls what it is given, and keeps what it is asked and told."""

    def __init__(self, recalls: Any = ("Ada likes tea.",)) -> None:
        self.recalls = recalls
        self.asked: list[list[str]] = []
        self.told: list[MemorySnapshot] = []

    async def recall(self, *, messages: Sequence[AgentMessage], session_id: str, budget_tokens: int = 1500) -> Any:
        self.asked.append([message.text for message in messages])
        answer = self.recalls
        if isinstance(answer, BaseException):
            raise answer
        return await answer() if isinstance(answer, Callable) else answer

    async def remember(self, *, snapshot: MemorySnapshot, session_id: str) -> None:
        self.told.append(snapshot)


class Door:
    """An await that a test holds: ``reached`` when somebody stands before it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, *_: object, **__: object) -> list[str]:
        self.reached.set()
        await self.open.wait()
        return []


def heard(bus: AgentEventBus, *kinds: str) -> list[AgentEvent]:
    """Return a list that fills with the events of these types."""
    events: list[AgentEvent] = []
    for kind in kinds:
        bus.subscribe(kind, events.append)
    return events


def notes(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Topic and text of the notes of a journal."""
    return [(entry.fact.topic, entry.fact.text) for entry in entries if isinstance(entry.fact, Note)]
