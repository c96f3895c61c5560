"""The border for what a host hands in: clear errors for what cannot be taken, before anything is written."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.messages import (
    AgentMessage,
    Block,
    Document,
    Image,
    MessageRole,
    Text,
    clean_content,
    to_message,
)
from power_loop.ports.blobs import BlobReader
from power_loop.ports.content import Attachment, ContentIntake, Part, document, image, part_from

OneInput: TypeAlias = str | Mapping[str, Any] | AgentMessage | Attachment
Input: TypeAlias = OneInput | Sequence[OneInput | Block]

_LONGEST_ID = 200
_LAST_CONTROL = 0x20


class Draft(msgspec.Struct, frozen=True):
    """A message of the host's. Where it has ``parts``, they become its content when their attachments are read."""

    message: AgentMessage
    parts: tuple[Part, ...] = ()


def to_drafts(value: Input, known: Container[str] = ()) -> list[Draft]:
    """Return the messages of an input. Raises InvalidInputError.

    A list with a content part in it (an attachment, a block, a mapping with ``type`` and without ``role``) is one
    message made of these parts; any other list is several messages. Blobs that are ``known`` are not read again.
    """
    items: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise InvalidInputError("The input is empty; send at least one message.")
    if any(map(_is_part, items)):
        return [_checked(_from_parts(AgentMessage(MessageRole.USER), items, known))]
    return [_checked(_draft(item, known)) for item in items]


async def taken(
    drafts: Sequence[Draft], intake: ContentIntake, stored: BlobReader
) -> tuple[list[AgentMessage], dict[str, bytes]]:
    """Return the messages with what they attach read, and its bytes by address. Raises a ContentError."""
    messages: list[AgentMessage] = []
    blobs: dict[str, bytes] = {}
    for draft in drafts:
        message = draft.message
        if draft.parts:
            read = await intake.take(draft.parts, stored)
            message = msgspec.structs.replace(message, content=read.content)
            blobs |= read.blobs
        messages.append(message)
    return messages, blobs


def _is_part(item: object) -> bool:
    if isinstance(item, Mapping):
        return "type" in item and "role" not in item
    return isinstance(item, Attachment | Block)


def _draft(item: OneInput, known: Container[str]) -> Draft:
    shell: Mapping[str, Any] | AgentMessage
    if isinstance(item, AgentMessage):
        content, shell = item.content, AgentMessage(item.role, "", item.tool_calls, item.tool_call_id, item.name)
    elif isinstance(item, Mapping):
        content, shell = item.get("content", ""), {**item, "content": ""}
    else:
        content, shell = "", {}
    if not isinstance(content, list | tuple) or all(isinstance(part, str | Text) for part in content):
        return Draft(to_message(item))  # type: ignore[arg-type]  # it refuses what it does not know
    return _from_parts(to_message(shell), content, known)


def _from_parts(message: AgentMessage, parts: Sequence[Any], known: Container[str]) -> Draft:
    return Draft(message, tuple(_part(part, known) for part in parts))


def _part(given: object, known: Container[str]) -> Part:
    part = Text(given) if isinstance(given, str) else part_from(given)
    if isinstance(part, Image) and part.blob not in known:
        return image(part.blob)  # its bytes must be there, and become this session's as well
    if isinstance(part, Document) and part.blob not in known:
        return document(part.blob, name=part.name)
    if part is None:
        kind = given.get("type", given.get("role")) if isinstance(given, Mapping) else type(given).__name__
        raise InvalidInputError(
            f"{kind!r} is no content part that is known. Use text, image(), document(), or OpenAI's parts "
            "(text, image_url, file; input_text, input_image, input_file)."
        )
    return part


def _checked(draft: Draft) -> Draft:
    message = draft.message
    if message.role is MessageRole.TOOL or message.tool_calls:
        raise InvalidInputError("Tool calls and their results are the kernel's to record; send user or system text.")
    attached = any(isinstance(part, Attachment | Image | Document) for part in draft.parts)
    if attached and message.role is not MessageRole.USER:
        raise InvalidInputError(f"Images and documents are sent by the user, not as {message.role}.")
    said = "".join(part.text for part in draft.parts if isinstance(part, Text)) or message.text
    if not attached and not said.strip():
        raise InvalidInputError("The input is empty; send some text. To go on without new input, call resume().")
    return draft


def input_fact(message: AgentMessage) -> InputReceived:
    """Return the fact that records an input, cleaned of what no store can hold."""
    content, dirty = clean_content(message.content)
    return InputReceived(content, message.role, message.name, cleaned=dirty)


def checked_id(session_id: str) -> str:
    """Return a session id that a host chose. Raises InvalidInputError."""
    if not isinstance(session_id, str) or not session_id or len(session_id) > _LONGEST_ID:
        raise InvalidInputError(f"A session id is text of 1 to {_LONGEST_ID} characters, got {session_id!r:.60}.")
    if jsontext.clean(session_id)[1] or any(ord(char) < _LAST_CONTROL for char in session_id):
        raise InvalidInputError(f"A session id has no control characters or lone surrogates, got {session_id!r:.60}.")
    return session_id


def checked_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return metadata as clean JSON data. Raises InvalidInputError for what JSON cannot say."""
    try:
        cleaned: dict[str, Any] = jsontext.clean_value(dict(metadata or {}))[0]
        jsontext.encode(cleaned)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"metadata must be a mapping of JSON values: {error}") from error
    return cleaned
