"""Observers: what a host may attach to hear of committed entries. They watch; none of them writes history."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from power_loop.decisions.events import Narrator
from power_loop.facts.entries import (
    Compacted,
    InputReceived,
    ModelCalled,
    ModelReplied,
    Note,
    RecordedCall,
    ToolFinished,
)
from power_loop.facts.events import AgentEvent
from power_loop.facts.ids import call_id
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.ports.bus import AgentEventBus

logger = logging.getLogger("power_loop")


class BusPublisher:
    """Publishes entries and transient events on a bus; does nothing while nobody listens."""

    def __init__(self, bus: AgentEventBus) -> None:
        self._bus = bus
        self._narrators: dict[str, Narrator] = {}

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return self._bus.active

    def on_recall(self, session_id: str, calls: Mapping[str, RecordedCall]) -> None:
        """Take in the calls that entries to come speak of."""
        if self._bus.active:
            self._narrator(session_id).recall(calls)

    def on_entries(self, session_id: str, entries: Sequence[Entry]) -> None:
        """Tell the entries of a commit."""
        if not self._bus.active:
            self._narrators.pop(session_id, None)
            return
        narrator = self._narrator(session_id)
        for entry in entries:
            for event in narrator.tell(entry):
                self._bus.publish(event)
        if entries and entries[-1].kind == "run_ended":
            self._narrators.pop(session_id, None)

    def _narrator(self, session_id: str) -> Narrator:
        narrator = self._narrators.get(session_id)
        if narrator is None:
            narrator = self._narrators[session_id] = Narrator(session_id)
        return narrator

    def on_event(self, event: AgentEvent) -> None:
        """Tell a transient event."""
        if self._bus.active:
            self._bus.publish(event)


class MessageSink(Protocol):
    """Callbacks per change, for hosts that mirror conversations elsewhere."""

    def on_round_started(self, round_index: int) -> None:
        """A round began."""
        ...

    def on_message_appended(self, message: dict[str, Any], *, round_index: int) -> None:
        """A message is durable; OpenAI Chat shape."""
        ...

    def on_assistant_tool_calls(
        self, *, assistant_seq: int, tool_calls: list[dict[str, Any]], round_index: int
    ) -> None:
        """A durable reply asks for tools; ``assistant_seq`` is its entry."""
        ...

    def on_compaction(
        self,
        *,
        fold_start_idx: int,
        fold_end_idx: int,
        summary_text: str,
        before_tokens: int,
        after_tokens: int,
        round_index: int,
    ) -> None:
        """Older messages were replaced by a summary in the model's view."""
        ...

    def on_round_ended(self, round_index: int, *, usage: dict[str, Any] | None = None) -> None:
        """A round is complete."""
        ...


class NullSink:
    """Does nothing; a base for sinks that want some of the callbacks."""

    def on_round_started(self, round_index: int) -> None:
        """Do nothing."""

    def on_message_appended(self, message: dict[str, Any], *, round_index: int) -> None:
        """Do nothing."""

    def on_assistant_tool_calls(
        self, *, assistant_seq: int, tool_calls: list[dict[str, Any]], round_index: int
    ) -> None:
        """Do nothing."""

    def on_compaction(
        self,
        *,
        fold_start_idx: int,
        fold_end_idx: int,
        summary_text: str,
        before_tokens: int,
        after_tokens: int,
        round_index: int,
    ) -> None:
        """Do nothing."""

    def on_round_ended(self, round_index: int, *, usage: dict[str, Any] | None = None) -> None:
        """Do nothing."""


class SinkObserver:
    """Turns committed entries into a sink's callbacks. A sink that raises is logged and never breaks a run."""

    def __init__(self, sink: MessageSink) -> None:
        self._sink = sink
        self._usage: dict[str, dict[str, Any]] = {}
        self._wire_ids: dict[tuple[str, str], str] = {}

    @property
    def active(self) -> bool:
        """Sinks hear of entries only."""
        return False

    def on_event(self, event: AgentEvent) -> None:
        """Do nothing: sinks hear of entries only."""

    def on_recall(self, session_id: str, calls: Mapping[str, RecordedCall]) -> None:
        """Take in the wire ids of the calls that entries to come speak of."""
        for identity, call in calls.items():
            self._wire_ids[session_id, identity] = call.id

    def on_entries(self, session_id: str, entries: Sequence[Entry]) -> None:
        """Tell the entries of a commit to the sink."""
        for entry in entries:
            try:
                self._tell(session_id, entry)
            except Exception:
                logger.exception("A message sink failed at entry %d of %s", entry.seq, session_id)

    def _tell(self, session_id: str, entry: Entry) -> None:
        sink, fact = self._sink, entry.fact
        match fact:
            case InputReceived():
                message = AgentMessage(fact.role, fact.content, name=fact.name)
                sink.on_message_appended(message.to_openai_message(), round_index=entry.round)
            case Note():
                message = AgentMessage(fact.role, fact.text)
                sink.on_message_appended(message.to_openai_message(), round_index=entry.round)
            case ModelReplied():
                self._tell_reply(session_id, entry, fact)
            case ToolFinished():
                wire_id = self._wire_ids.pop((session_id, fact.call), fact.call)
                message = AgentMessage(MessageRole.TOOL, fact.content, tool_call_id=wire_id)
                sink.on_message_appended(message.to_openai_message(), round_index=entry.round)
                if fact.closes_round:
                    sink.on_round_ended(entry.round, usage=self._usage.pop(session_id, None))
            case Compacted():
                sink.on_compaction(
                    fold_start_idx=fact.start,
                    fold_end_idx=fact.stop - 1,
                    summary_text=fact.summary,
                    before_tokens=fact.before_tokens,
                    after_tokens=fact.after_tokens,
                    round_index=entry.round,
                )
            case ModelCalled(purpose="reply"):
                sink.on_round_started(entry.round)

    def _tell_reply(self, session_id: str, entry: Entry, fact: ModelReplied) -> None:
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in fact.calls)
        message = AgentMessage(MessageRole.ASSISTANT, fact.content, calls)
        self._sink.on_message_appended(message.to_openai_message(), round_index=entry.round)
        self._usage[session_id] = fact.usage.as_dict()
        if not calls:
            self._sink.on_round_ended(entry.round, usage=self._usage.pop(session_id))
            return
        self.on_recall(session_id, {call_id(entry.seq, index): call for index, call in enumerate(fact.calls)})
        self._sink.on_assistant_tool_calls(
            assistant_seq=entry.seq, tool_calls=[call.to_openai_tool_call() for call in calls], round_index=entry.round
        )
