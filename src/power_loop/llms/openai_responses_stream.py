"""From the events of an OpenAI Responses stream to one complete reply.

Knows nothing of HTTP or of the SDK: data in, deltas on the way, an LLMResponse out. An item counts as it stands in
its ``response.output_item.done``, or in the event that ends the reply; deltas are for listeners.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import LLMError, LLMRefused, LLMTruncated
from power_loop.facts.messages import Block, CallSlot, Content, Reasoning, Text
from power_loop.facts.usage import LLMTokenUsage
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

ORIGIN: Final = "openai_responses"
"""What ``Reasoning.origin`` says of reasoning that came over this wire."""
DONE = b"[DONE]"
"""Sent by some servers as the last event, behind the one that ends the reply."""
_CAP = "max_output_tokens"
_ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class Item(msgspec.Struct, gc=False):
    """One item of a reply's output, whatever its kind."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    content: Any = None
    summary: Any = None
    encrypted_content: str | None = None


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class Ending(msgspec.Struct, gc=False):
    """The response object of an event, as far as the kernel reads it."""

    status: str | None = None
    model: str | None = None
    output: list[Item] | None = None
    usage: Any = None
    error: Any = None
    incomplete_details: _Incomplete | None = None


class Event(msgspec.Struct, gc=False):
    """One event of the stream, as far as the kernel reads it."""

    type: str = ""
    output_index: int | None = None
    item_id: str | None = None
    summary_index: int | None = None
    item: Item | None = None
    delta: Any = None
    response: Ending | None = None
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(Event, strict=False)


def decode_event(data: bytes) -> Event:
    """Decode one event's data. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for what is none."""
    return _EVENT.decode(data)


def error_of(event: Event) -> object:
    """Return the provider's error object where the event is one, in any of the forms in use; else None."""
    if event.error:
        return event.error
    if event.type == "error":
        return {"message": event.message, "code": event.code}
    if event.type == "response.failed" or (event.response and event.response.status == "failed"):
        return (event.response and event.response.error) or {"message": "the reply failed"}
    return None


class _Slot:
    """An item under construction. ``done`` None: begun and not yet whole."""

    __slots__ = ("call", "done", "index", "part")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.call: int | None = None
        self.part: int | None = None
        self.done: Item | None = None


class ReplyBuilder:
    """Takes the events and becomes the reply: ``add`` each until one ends the reply, then ``build``."""

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self._slots: list[_Slot] = []
        self._by_name: dict[str | int, _Slot] = {}
        self._calls = 0
        self._model = ""
        self._ending = Ending()

    def add(self, event: Event) -> bool:
        """Add one event; the listener hears what is new. Return whether it ends the reply."""
        if event.response is not None and event.response.model:
            self._model = event.response.model
        if event.type in _ENDINGS:
            self._ending = event.response or Ending()
            self._ending.status = self._ending.status or event.type.removeprefix("response.")
            return True
        handle = self._handlers.get(event.type)
        if handle is not None:
            handle(self, event)
        return False

    def _slot(self, event: Event) -> _Slot:
        """Return the item that the event is about: by its index, else by any of its ids, else a new one."""
        item = event.item or Item()
        names = [name for name in (event.output_index, event.item_id, item.id, item.call_id) if name is not None]
        slot = next((self._by_name[name] for name in names if name in self._by_name), None)
        if slot is None:
            slot = _Slot(event.output_index)
            self._slots.append(slot)
        self._by_name |= dict.fromkeys(names, slot)
        return slot

    def _begin(self, event: Event) -> None:
        slot, item = self._slot(event), event.item
        if item is None or item.type != "function_call" or slot.call is not None:
            return
        slot.call = self._calls
        self._calls += 1
        self._on_delta(ToolCallDelta(slot.call, item.call_id or item.id or "", item.name or "", _json(item.arguments)))

    def _text(self, event: Event) -> None:
        self._slot(event)
        if isinstance(event.delta, str) and event.delta:
            self._on_delta(TextDelta(event.delta))

    def _reasoning(self, event: Event) -> None:
        slot = self._slot(event)
        if not isinstance(event.delta, str) or not event.delta:
            return
        if slot.part is not None and event.summary_index != slot.part:
            self._on_delta(ReasoningDelta("\n\n"))
        slot.part = event.summary_index
        self._on_delta(ReasoningDelta(event.delta))

    def _arguments(self, event: Event) -> None:
        slot = self._slot(event)
        if slot.call is not None and isinstance(event.delta, str) and event.delta:
            self._on_delta(ToolCallDelta(slot.call, arguments=event.delta))

    def _finish(self, event: Event) -> None:
        self._slot(event).done = event.item

    _handlers: ClassVar[Mapping[str, Callable[["ReplyBuilder", Event], None]]] = {
        "response.output_item.added": _begin,
        "response.output_item.done": _finish,
        "response.output_text.delta": _text,
        "response.refusal.delta": _text,
        "response.reasoning_summary_text.delta": _reasoning,
        "response.reasoning_text.delta": _reasoning,
        "response.function_call_arguments.delta": _arguments,
    }

    @property
    def failure(self) -> tuple[type[LLMError], str] | None:
        """Why what has ended is no reply; None where it is one."""
        status, details = self._ending.status, self._ending.incomplete_details
        reason = details.reason if details and status == "incomplete" else None
        if status == "completed" or reason == _CAP:
            return None
        kind = LLMRefused if reason == "content_filter" else LLMTruncated
        return kind, f"the reply ended as {status!r}" + (f" ({reason})" if reason else "")

    def build(self) -> LLMResponse:
        """Return the reply. Raises ValueError for an item without its end and for a tool call without a name."""
        blocks: list[Block] = []
        calls: list[ReplyCall] = []
        for item in self._items():
            if item.type == "function_call":
                blocks.append(CallSlot(len(calls)))
                calls.append(_call_of(item))
            elif item.type == "message":
                blocks += [Text(text)] if (text := _joined(item.content, "")) else []
            elif item.type == "reasoning":
                blocks += _reasoning_of(item)
        reason: FinishReason = "tool_calls" if calls else "stop"
        if self._ending.status == "incomplete":
            reason = "length"
        usage = read_usage(self._ending.usage) or LLMTokenUsage()
        return LLMResponse(_to_content(blocks), tuple(calls), reason, usage, self._model)

    def _items(self) -> list[Item]:
        """Return the items in their order; what was not heard to its end is taken from the ending, where it is told."""
        indexed = all(slot.index is not None for slot in self._slots)
        items = {(slot.index or 0) if indexed else place: slot.done for place, slot in enumerate(self._slots)}
        for place, told in enumerate(self._ending.output or ()):
            items[place] = items.get(place) or told
        whole = [item for _, item in sorted(items.items()) if item is not None]
        if len(whole) < len(items):
            raise ValueError("an output item was begun and never finished")
        return whole


def _json(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else jsontext.encode(arguments)


def _call_of(item: Item) -> ReplyCall:
    if not item.name:
        raise ValueError("a tool call has no name")
    return ReplyCall(item.call_id or item.id or "", item.name, _json(item.arguments))


def _joined(parts: object, separator: str) -> str:
    """Return the text of a list of content parts."""
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list):
        return ""
    texts = [part.get("text") or part.get("refusal") for part in parts if isinstance(part, Mapping)]
    return separator.join(text for text in texts if isinstance(text, str) and text)


def _reasoning_of(item: Item) -> list[Reasoning]:
    text = _joined(item.summary, "\n\n") or _joined(item.content, "")
    data = item.encrypted_content or None
    return [Reasoning(text, origin=ORIGIN, data=data, id=item.id)] if text or data else []


def _to_content(blocks: list[Block]) -> Content:
    """Leave out the slots of calls that stand behind all else; one text alone is a string."""
    places = [isinstance(block, CallSlot) for block in blocks]
    if places == sorted(places):
        blocks = [block for block in blocks if not isinstance(block, CallSlot)]
    if len(blocks) == 1 and isinstance(blocks[0], Text):
        return blocks[0].text
    return tuple(blocks) if blocks else ""
