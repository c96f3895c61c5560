"""Messages: typed content close to what providers use, immutable so that adapters may cache what they make of it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import InvalidInputError


class MessageRole(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Text(msgspec.Struct, frozen=True, tag="text", forbid_unknown_fields=True):
    """Plain text."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True, forbid_unknown_fields=True):
    """What the model thought before it spoke.

    ``signature``, ``data`` (redacted or encrypted thinking) and ``id`` are the provider's own, sent back untouched to
    where it came from and nowhere else: ``origin`` names the wire format (``anthropic``, ``openai_responses``) and,
    behind an ``@``, who answered.
    """

    text: str
    signature: str | None = None
    origin: str = ""
    data: str | None = None
    id: str | None = None


class Image(msgspec.Struct, frozen=True, tag="image", omit_defaults=True, forbid_unknown_fields=True):
    """A picture. ``blob`` is the content address of its bytes, ``size`` their number."""

    blob: str
    media_type: str
    size: int = 0


class Document(msgspec.Struct, frozen=True, tag="document", omit_defaults=True, forbid_unknown_fields=True):
    """A file for the model to read. ``text_blob`` is its extracted text, for models that cannot take the file."""

    blob: str
    media_type: str
    name: str = ""
    size: int = 0
    text_blob: str | None = None


class CallSlot(msgspec.Struct, frozen=True, tag="call", forbid_unknown_fields=True):
    """Where call ``index`` of a reply stood; recorded only where calls did not stand behind all other content."""

    index: int


Block: TypeAlias = Text | Reasoning | Image | Document | CallSlot
Content: TypeAlias = str | tuple[Block, ...]


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call that the model asks for. ``id`` is the id on the provider's wire."""

    id: str
    name: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_openai_tool_call(self) -> dict[str, Any]:
        """Return the OpenAI Chat shape; arguments as JSON text."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": jsontext.encode(self.arguments)},
        }


class AgentMessage(msgspec.Struct, frozen=True, weakref=True, omit_defaults=True, forbid_unknown_fields=True):
    """One message of the model's view."""

    role: MessageRole
    content: Content = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined; reasoning is not text."""
        return text_of(self.content)

    def to_openai_message(self) -> dict[str, Any]:
        """Return the OpenAI Chat shape, without reasoning.

        Text is text; with images or documents the content is a list of parts, in order, with the content address of
        their bytes where OpenAI has a URL: ``store.read_blob`` reads it, and ``send`` takes such a part again.
        """
        content = _openai_parts(self.content) if has_media(self.content) else self.text
        message: dict[str, Any] = {"role": str(self.role), "content": content}
        if self.tool_calls:
            message["tool_calls"] = [call.to_openai_tool_call() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            message["name"] = self.name
        return message


def text_of(content: Content) -> str:
    """Return the text blocks of a content, joined."""
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content if isinstance(block, Text))


def reasoning_of(content: Content) -> str:
    """Return the reasoning blocks of a content, joined."""
    if isinstance(content, str):
        return ""
    return "".join(block.text for block in content if isinstance(block, Reasoning))


def has_media(content: Content) -> bool:
    """Tell whether a content has an image or a document in it."""
    if isinstance(content, str):
        return False
    for block in content:  # noqa: SIM110 -- on the way of every message; half the time of any()
        if isinstance(block, Image | Document):
            return True
    return False


def _openai_parts(content: Content) -> list[dict[str, Any]]:
    blocks = (Text(content),) if isinstance(content, str) else content
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if isinstance(block, Text):
            parts.append({"type": "text", "text": block.text})
        elif isinstance(block, Image):
            parts.append({"type": "image_url", "image_url": {"url": block.blob}})
        elif isinstance(block, Document):
            parts.append({"type": "file", "file": {"filename": block.name, "file_data": block.blob}})
    return parts


def _from_openai_part(part: object) -> Block:
    if isinstance(part, str):
        return Text(part)
    if isinstance(part, Block):
        return part
    if isinstance(part, Mapping) and part.get("type") in {"text", "input_text"} and isinstance(part.get("text"), str):
        return Text(part["text"])
    kind = part.get("type", part) if isinstance(part, Mapping) else type(part).__name__
    raise InvalidInputError(
        f"Expected a text part or a block, got {kind!r}. Images and files are taken by send() and from tools only."
    )


def _from_openai_call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(call.get("id"), str):
        raise InvalidInputError(
            "A tool call needs 'id' and 'function' with 'name' and 'arguments' (OpenAI Chat shape)."
        )
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = jsontext.parse_object(arguments)
        except ValueError as error:
            raise InvalidInputError(f"Tool call {call['id']!r}: {error}") from error
    return ToolCall(call["id"], str(function.get("name", "")), dict(arguments))


def to_message(value: "str | Mapping[str, Any] | AgentMessage") -> AgentMessage:
    """Accept ``str`` (a user message), an OpenAI Chat dict or our own type.

    Raises InvalidInputError naming what is wrong with anything else.
    """
    if isinstance(value, AgentMessage):
        return value
    if isinstance(value, str):
        return AgentMessage(MessageRole.USER, value)
    if not isinstance(value, Mapping):
        raise InvalidInputError(
            f"Expected text, an OpenAI-style dict or an AgentMessage; got {type(value).__name__}. Decode bytes first."
        )
    try:
        role = MessageRole(value.get("role", "user"))
    except ValueError as error:
        raise InvalidInputError(f"Unknown role {value.get('role')!r}; use system, user, assistant or tool.") from error
    content = value.get("content")
    if content is None:
        content = ""
    elif not isinstance(content, str):
        if not isinstance(content, list | tuple):
            raise InvalidInputError(f"'content' must be text or a list of text parts; got {type(content).__name__}.")
        content = tuple(_from_openai_part(part) for part in content)
    calls = tuple(_from_openai_call(call) for call in value.get("tool_calls") or ())
    return AgentMessage(role, content, calls, value.get("tool_call_id"), value.get("name"))


def clean_content(content: Content) -> tuple[Content, bool]:
    """Apply the border's ``clean`` to a content."""
    if isinstance(content, str):
        return jsontext.clean(content)
    cleaned: list[Block] = []
    dirty = False
    for block in content:
        text, changed = jsontext.clean(block.text) if isinstance(block, Text | Reasoning) else ("", False)
        cleaned.append(msgspec.structs.replace(block, text=text) if changed else block)
        dirty = dirty or changed
    return tuple(cleaned), dirty
