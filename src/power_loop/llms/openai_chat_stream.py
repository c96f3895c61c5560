"""From the bytes of an OpenAI Chat event stream to one complete reply.

Knows nothing of HTTP or of the SDK: bytes in, deltas on the way, an LLMResponse or a typed error out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.messages import Content, Reasoning, Text
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.openai_chat_think import OPEN_TAG, ThinkSplitter
from power_loop.llms.openai_chat_usage import read_usage
from power_loop.ports.llm import (
    FinishReason,
    LLMResponse,
    OnDelta,
    ReasoningDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
)

DONE = b"[DONE]"


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _CallDelta(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    thinking_content: Any = None
    reasoning_text: Any = None
    thought: Any = None
    tool_calls: list[_CallDelta] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    usage: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One event of the stream, as far as the kernel reads it."""

    choices: list[_Choice] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None
    object: str | None = None
    code: Any = None
    message: Any = None
    x_openai_usage: Any = None
    x_usage: Any = None
    x_groq: Any = None


_CHUNK = msgspec.json.Decoder(Chunk, strict=False)
_REASONING_TYPES = ("reason", "think", "thought")
_TEXT_KEYS = ("text", "thinking", "reasoning", "content", "summary")
_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
}


class StreamedError(Exception):
    """The provider sent an error object instead of a chunk; ``error`` is that object."""

    def __init__(self, error: object) -> None:
        super().__init__("error inside the stream")
        self.error = error


def decode_chunk(data: bytes) -> Chunk:
    """Decode one event's data.

    Raises StreamedError for an error object, and msgspec.DecodeError, UnicodeDecodeError or RecursionError for what
    is no chunk.
    """
    chunk = _CHUNK.decode(data)
    if chunk.error or chunk.object == "error" or (chunk.choices is None and chunk.message and chunk.code):
        raise StreamedError(chunk.error or {"message": chunk.message, "code": chunk.code})
    return chunk


class _Call:
    """A tool call under construction."""

    __slots__ = ("arguments", "id", "name", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class CallAssembler:
    """Puts tool calls together from pieces, which providers label in different ways.

    A piece belongs to the call with its id, else to the one with its index, else it begins a new call or continues
    the one at its position. A piece that brings both a new id and a name is a new call even under a used index.
    """

    __slots__ = ("_by_id", "_by_index", "calls")

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}

    def feed(self, piece: _CallDelta, position: int | None = None) -> ToolCallDelta:
        """Add a piece; return it as a delta. ``position`` is its place in its chunk, None if it stood alone."""
        function = piece.function or _Function()
        call = self._find(piece, function.name or "", len(self.calls) - 1 if position is None else position)
        if piece.id and not call.id:
            call.id = piece.id
            self._by_id[piece.id] = call
        if piece.index is not None:
            self._by_index[piece.index] = call
        name = self._name(call, function.name or "")
        arguments = function.arguments
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = jsontext.encode(arguments)
        if arguments:
            call.arguments.append(arguments)
        return ToolCallDelta(call.position, piece.id or "", name, arguments)

    def _find(self, piece: _CallDelta, name: str, position: int) -> _Call:
        if piece.id and piece.id in self._by_id:
            return self._by_id[piece.id]
        known: _Call | None = None
        if piece.index is not None:
            known = self._by_index.get(piece.index)
        elif not piece.id and 0 <= position < len(self.calls):
            known = self.calls[position]
        if known is not None and not self._is_another(known, piece, name):
            return known
        call = _Call(len(self.calls))
        self.calls.append(call)
        return call

    @staticmethod
    def _is_another(known: _Call, piece: _CallDelta, name: str) -> bool:
        if not name or not known.name:
            return False
        if piece.id:
            return bool(known.id)
        return piece.index is None and (bool(known.arguments) or name != known.name)

    @staticmethod
    def _name(call: _Call, piece: str) -> str:
        if not piece or piece == call.name or call.arguments:
            return ""
        call.name += piece
        return piece

    def finish(self) -> tuple[ReplyCall, ...]:
        """Return the calls. Raises ValueError for one without a name."""
        for call in self.calls:
            if not call.name:
                raise ValueError(f"tool call {call.position} has no name")
        return tuple(ReplyCall(call.id, call.name, "".join(call.arguments)) for call in self.calls)


def _thought_in(delta: _Delta) -> object:
    """Return the first of the fields in which providers send reasoning; some send it in two."""
    return (
        delta.reasoning_content
        or delta.reasoning
        or delta.thinking
        or delta.thinking_content
        or delta.reasoning_text
        or delta.thought
    )


def _text_in(value: object) -> str:
    """Return the text of a string, a list of blocks or a block, however it is nested."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text_in(item) for item in value)
    if isinstance(value, Mapping):
        return next((text for key in _TEXT_KEYS if (text := _text_in(value.get(key)))), "")
    return ""


def _is_reasoning(block: object) -> bool:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return isinstance(kind, str) and any(word in kind for word in _REASONING_TYPES)


class ReplyBuilder:
    """Takes the chunks and becomes the reply: ``add`` each, then ``flush``, then ``build``."""

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self._think = ThinkSplitter()
        self._parts: list[tuple[bool, list[str]]] = []
        self._calls = CallAssembler()
        self._usage = LLMTokenUsage()
        self._model = ""
        self.finish_reason: str | None = None

    def add(self, chunk: Chunk) -> None:
        """Add one chunk; the listener hears what is new."""
        if chunk.model and not self._model:
            self._model = chunk.model
        if chunk.choices:
            for choice in chunk.choices:
                if not choice.index:
                    self._choose(choice)
        usage = chunk.usage or chunk.x_openai_usage or chunk.x_usage or chunk.x_groq
        if usage:
            self._count(usage)

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage = read_usage(usage.get("usage") or usage) or self._usage

    def _choose(self, choice: _Choice) -> None:
        delta = choice.delta
        if delta is not None:
            thought = _thought_in(delta)
            if thought:
                self._tell(_text_in(thought), reasoning=True)
            if delta.content:
                self._content(delta.content)
            if delta.refusal:
                self._tell(delta.refusal, reasoning=False)
            if delta.tool_calls or delta.function_call:
                self._call(delta)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        if choice.usage:
            self._count(choice.usage)

    def _content(self, content: object) -> None:
        if isinstance(content, str):
            self._visible(content)
        elif isinstance(content, list):
            for block in content:
                if _is_reasoning(block):
                    self._tell(_text_in(block), reasoning=True)
                else:
                    self._visible(_text_in(block))

    def _visible(self, text: str) -> None:
        if self._think.is_plain(text):
            self._tell(text, reasoning=False)
            return
        for reasoning, piece in self._think.feed(text):
            self._tell(piece, reasoning=reasoning)

    def _tell(self, text: str, *, reasoning: bool) -> None:
        if not text:
            return
        parts = self._parts
        if parts and parts[-1][0] is reasoning:
            parts[-1][1].append(text)
        else:
            parts.append((reasoning, [text]))
        self._on_delta(ReasoningDelta(text) if reasoning else TextDelta(text))

    def _call(self, delta: _Delta) -> None:
        pieces = delta.tool_calls or ()
        for position, piece in enumerate(pieces):
            self._on_delta(self._calls.feed(piece, position if len(pieces) > 1 else None))
        if delta.function_call is not None:
            self._on_delta(self._calls.feed(_CallDelta(0, None, delta.function_call)))

    def flush(self) -> None:
        """Tell the listener what was held back as the possible beginning of a tag."""
        for reasoning, piece in self._think.flush():
            self._tell(piece, reasoning=reasoning)
        self._give_back_unclosed_thought()

    def build(self) -> LLMResponse:
        """Return the reply. Raises ValueError for a tool call without a name."""
        calls = self._calls.finish()
        reason = _FINISH.get((self.finish_reason or "stop").lower(), "stop")
        if calls and reason == "stop":
            reason = "tool_calls"
        return LLMResponse(self._to_content(), calls, reason, self._usage, self._model)

    def _give_back_unclosed_thought(self) -> None:
        """Turn a ``<think>`` that stands inside visible text and is never closed into the text it is."""
        visible = any(text.strip() for thought, texts in self._parts if not thought for text in texts)
        if not (self._think.inside and visible):
            return
        lost = self._parts.pop()[1] if self._parts[-1][0] else []
        self._parts[-1][1].extend([OPEN_TAG, *lost])

    def _to_content(self) -> Content:
        blocks = tuple(Reasoning("".join(texts)) if thought else Text("".join(texts)) for thought, texts in self._parts)
        if all(isinstance(block, Text) for block in blocks):
            return "".join(block.text for block in blocks)
        return blocks
