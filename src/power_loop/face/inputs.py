"""The border for what a host hands in: clear errors for what cannot be taken, before anything is written."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.messages import AgentMessage, MessageRole, clean_content, to_message

OneInput: TypeAlias = str | Mapping[str, Any] | AgentMessage
Input: TypeAlias = OneInput | Sequence[OneInput]

_LONGEST_ID = 200
_LAST_CONTROL = 0x20


def to_inputs(value: Input) -> list[AgentMessage]:
    """Return the messages of an input. Raises InvalidInputError."""
    items: Sequence[OneInput]
    items = value if isinstance(value, list | tuple) else [value]  # type: ignore[list-item]  # to_message() refuses what it does not know
    if not items:
        raise InvalidInputError("The input is empty; send at least one message.")
    return [_checked(to_message(item)) for item in items]


def _checked(message: AgentMessage) -> AgentMessage:
    if message.role is MessageRole.TOOL or message.tool_calls:
        raise InvalidInputError("Tool calls and their results are the kernel's to record; send user or system text.")
    if not message.text.strip():
        raise InvalidInputError("The input is empty; send some text. To go on without new input, call resume().")
    return message


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
