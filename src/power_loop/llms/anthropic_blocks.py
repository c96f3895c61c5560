"""What a message becomes as content blocks of an Anthropic request, each block its own line of JSON.

Encoded JSON holds no line break, so that lines can be joined to messages and told apart again. ``type`` comes first
in each block: cache markers go by it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from power_loop.facts.messages import (
    AgentMessage,
    Block,
    CallSlot,
    Document,
    Image,
    MessageRole,
    Reasoning,
    Text,
    ToolCall,
)
from power_loop.llms.anthropic_stream import ORIGIN
from power_loop.llms.foreign import is_own
from power_loop.llms.media import Documents, Media, base64_of, with_text

WireBlock: TypeAlias = dict[str, Any]

NOTHING_SAID = "(empty)"
"""Stands for a user message without content: the API takes none without a block, and no block of blank text."""
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_ENCODE = msgspec.json.Encoder().encode


def to_lines(message: AgentMessage, media: Media, documents: Documents) -> msgspec.Raw:
    """Return the message's blocks, one a line; nothing for a reply of which nothing can be sent back."""
    blocks = _CONVERT[message.role](message, media, documents)
    return msgspec.Raw(b"\n".join(_ENCODE(block) for block in blocks))


def lines_of(raw: msgspec.Raw) -> list[bytes]:
    """Return the blocks of a message that was encoded before."""
    data = bytes(raw)
    return data.split(b"\n") if data else []


def text_block(text: str) -> WireBlock:
    """Return a text block."""
    return {"type": "text", "text": text}


def _user(message: AgentMessage, media: Media, documents: Documents) -> list[WireBlock]:
    return _visible(_blocks_of(message), media, documents) or [text_block(NOTHING_SAID)]


def _system(message: AgentMessage, _media: Media, _documents: Documents) -> list[WireBlock]:
    return [text_block(f"<system>\n{message.text}\n</system>")]


def _tool(message: AgentMessage, media: Media, documents: Documents) -> list[WireBlock]:
    result: WireBlock = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    content = _visible(_blocks_of(message), media, documents)
    if content:
        result["content"] = content
    return [result]


def _assistant(message: AgentMessage, media: Media, documents: Documents) -> list[WireBlock]:
    """Return the reply in its own order: calls stand in their slots, those without one behind all else."""
    blocks: list[WireBlock] = []
    waiting = dict(enumerate(message.tool_calls))
    for block in _blocks_of(message):
        if isinstance(block, CallSlot):
            call = waiting.pop(block.index, None)
            blocks += [_call(call)] if call is not None else []
        elif isinstance(block, Reasoning):
            blocks += _thought(block)
        else:
            blocks += _visible([block], media, documents)
    return blocks + [_call(call) for call in waiting.values()]


_CONVERT = {
    MessageRole.USER: _user,
    MessageRole.SYSTEM: _system,
    MessageRole.TOOL: _tool,
    MessageRole.ASSISTANT: _assistant,
}


def _blocks_of(message: AgentMessage) -> tuple[Block, ...]:
    return (Text(message.content),) if isinstance(message.content, str) else message.content


def _call(call: ToolCall) -> WireBlock:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _thought(block: Reasoning) -> list[WireBlock]:
    """Return what the API gave and can check; other thoughts it refuses."""
    if not is_own(block, ORIGIN):
        return []
    if block.data is not None:
        return [{"type": "redacted_thinking", "data": block.data}]
    if block.signature is not None:
        return [{"type": "thinking", "thinking": block.text, "signature": block.signature}]
    return []


def _visible(blocks: Iterable[Block], media: Media, documents: Documents) -> list[WireBlock]:
    """Return text, images and documents; blank text the API refuses."""
    visible: list[WireBlock] = []
    for block in blocks:
        shown = with_text(block, documents, media)
        if isinstance(shown, Text) and shown.text.strip():
            visible.append(text_block(shown.text))
        elif isinstance(shown, Image):
            visible.append(_image(shown, media))
        elif isinstance(shown, Document):
            title: Mapping[str, str] = {"title": shown.name} if shown.name else {}
            visible.append({"type": "document", "source": _source(shown, media), **title})
    return visible


def _image(image: Image, media: Media) -> WireBlock:
    if image.media_type not in _IMAGES:
        return text_block(f"[An image of type {image.media_type}: this model cannot read it.]")
    return {"type": "image", "source": _source(image, media)}


def _source(block: Image | Document, media: Media) -> WireBlock:
    return {"type": "base64", "media_type": block.media_type, "data": base64_of(block, media)}
