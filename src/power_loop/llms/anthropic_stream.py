"""From the events of an Anthropic Messages stream to one complete reply.

Knows nothing of HTTP or of the SDK: event data in, deltas on the way, an LLMResponse or an error out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.messages import Block, CallSlot, Content, Reasoning, Text
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import (
    FinishReason,
    LLMResponse,
    OnDelta,
    ReasoningDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
)

ORIGIN = "anthropic"
"""Names this wire format in reasoning blocks."""


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_details: Any = None


class _Message(msgspec.Struct, gc=False):
    model: str | None = None
    usage: Any = None


class Event(msgspec.Struct, gc=False):
    """One event of the stream, as far as the kernel reads it."""

    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(Event, strict=False)
_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}


class StreamedError(Exception):
    """The provider sent an error event; ``error`` is what it says."""

    def __init__(self, error: object) -> None:
        super().__init__("error inside the stream")
        self.error = error


class BrokenStream(Exception):
    """The events do not make a reply."""


def decode_event(data: bytes) -> Event:
    """Decode one event's data.

    Raises StreamedError for an error event, and msgspec.DecodeError, UnicodeDecodeError or RecursionError for what
    is no event.
    """
    event = _EVENT.decode(data)
    if event.type == "error":
        raise StreamedError(event.error)
    return event


class _Part:
    """A content block under construction. ``call`` is its place among the tool calls."""

    __slots__ = ("block", "call", "pieces", "signature")

    def __init__(self, block: _Block, call: int) -> None:
        self.block = block
        self.call = call
        self.pieces: list[str] = []
        self.signature = block.signature or ""

    def to_block(self) -> Block | None:
        """Return the kernel's block; None for an empty one and for kinds that the kernel does not know."""
        kind, text = self.block.type, "".join(self.pieces)
        if kind == "tool_use":
            return CallSlot(self.call)
        if kind == "text" and text:
            return Text(text)
        if kind == "thinking" and (text or self.signature):
            return Reasoning(text, self.signature or None, ORIGIN)
        if kind == "redacted_thinking" and self.block.data:
            return Reasoning("", None, ORIGIN, self.block.data)
        return None

    def to_call(self) -> ReplyCall:
        arguments = "".join(self.pieces)
        if not arguments and self.block.input:
            arguments = jsontext.encode(self.block.input)
        return ReplyCall(self.block.id or "", self.block.name or "", arguments or "{}")


class ReplyBuilder:
    """Takes the events and becomes the reply: ``add`` each until ``ended``, then ``build``."""

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self._parts: dict[int, _Part] = {}
        self._calls: list[_Part] = []
        self._figures: dict[str, Any] = {}
        self._model = ""
        self._on_event = {
            "message_start": self._start,
            "content_block_start": self._open,
            "content_block_delta": self._grow,
            "message_delta": self._top,
            "message_stop": self._stop,
        }
        self.ended = False
        self.stop_reason: str | None = None
        self.stop_details: Any = None

    def add(self, event: Event) -> None:
        """Add one event; the listener hears what is new. Unknown events may come and are passed over.

        Raises BrokenStream for a piece of a block that never began, for a tool call without a name and for a block
        that begins twice.
        """
        react = self._on_event.get(event.type)
        if react is not None:
            react(event)

    def _start(self, event: Event) -> None:
        if event.message is not None:
            self._model = event.message.model or ""
            self._count(event.message.usage)

    def _open(self, event: Event) -> None:
        block = event.content_block
        if block is None or event.index in self._parts:
            raise BrokenStream(f"content block {event.index} begins twice or without a block")
        part = self._parts[event.index] = _Part(block, len(self._calls))
        if block.type == "tool_use":
            if not block.name:
                raise BrokenStream(f"tool call {part.call} has no name")
            self._calls.append(part)
            self._on_delta(ToolCallDelta(part.call, block.id or "", block.name))
        elif block.type == "text":
            self._text(part, block.text)
        elif block.type == "thinking":
            self._thought(part, block.thinking)

    def _grow(self, event: Event) -> None:
        part, delta = self._parts.get(event.index), event.delta
        if part is None or delta is None:
            raise BrokenStream(f"a piece of content block {event.index} came without its beginning")
        if delta.type == "text_delta":
            self._text(part, delta.text)
        elif delta.type == "thinking_delta":
            self._thought(part, delta.thinking)
        elif delta.type == "signature_delta":
            part.signature += delta.signature or ""
        elif delta.type == "input_json_delta" and delta.partial_json:
            part.pieces.append(delta.partial_json)
            if part.block.type == "tool_use":
                self._on_delta(ToolCallDelta(part.call, arguments=delta.partial_json))

    def _text(self, part: _Part, text: str | None) -> None:
        if text:
            part.pieces.append(text)
            self._on_delta(TextDelta(text))

    def _thought(self, part: _Part, text: str | None) -> None:
        if text:
            part.pieces.append(text)
            self._on_delta(ReasoningDelta(text))

    def _top(self, event: Event) -> None:
        if event.delta is not None:
            self.stop_reason = event.delta.stop_reason or self.stop_reason
            self.stop_details = event.delta.stop_details or self.stop_details
        self._count(event.usage)

    def _stop(self, _event: Event) -> None:
        self.ended = True

    def _count(self, figures: object) -> None:
        """Take the figures; they are cumulative, so that a later one replaces an earlier one."""
        if isinstance(figures, Mapping):
            self._figures |= {key: value for key, value in figures.items() if value is not None}

    def build(self) -> LLMResponse:
        """Return the reply."""
        calls = tuple(part.to_call() for part in self._calls)
        reason = _FINISH.get(self.stop_reason or "", "stop")
        if calls and reason == "stop":
            reason = "tool_calls"
        return LLMResponse(self._to_content(), calls, reason, usage_of(self._figures), self._model)

    def _to_content(self) -> Content:
        blocks = [block for part in self._parts.values() if (block := part.to_block()) is not None]
        while blocks and isinstance(blocks[-1], CallSlot):
            blocks.pop()
        texts = [block.text for block in blocks if isinstance(block, Text)]
        return "".join(texts) if len(texts) == len(blocks) else tuple(blocks)


def _number(figures: Mapping[str, Any], key: str) -> int:
    value = figures.get(key)
    return max(0, int(value)) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def usage_of(figures: Mapping[str, Any]) -> LLMTokenUsage:
    """Return the figures in the kernel's meaning. Counts that are missing or odd are 0.

    Anthropic's ``input_tokens`` leaves out what was read from and written to the cache; ours does not.
    """
    read, written = _number(figures, "cache_read_input_tokens"), _number(figures, "cache_creation_input_tokens")
    details = figures.get("output_tokens_details")
    return LLMTokenUsage(
        input_tokens=_number(figures, "input_tokens") + read + written,
        output_tokens=_number(figures, "output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=_number(details, "thinking_tokens") if isinstance(details, Mapping) else 0,
    )
