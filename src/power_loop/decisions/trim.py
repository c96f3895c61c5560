"""Cut a list of messages to a number of tokens, for hosts that send history elsewhere. The kernel itself folds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from power_loop.facts.messages import AgentMessage, MessageRole, to_message
from power_loop.facts.tokens import estimate_tokens

_Message = TypeVar("_Message", AgentMessage, Mapping[str, Any])


def trim_history(messages: Sequence[_Message], max_tokens: int, *, keep_system: bool = True) -> list[_Message]:
    """Return the newest messages that together stay within ``max_tokens`` by estimate, in order.

    A call and its results stay or go together, and results without their call go. System messages at the beginning
    stay with ``keep_system``, unless they alone are too long. Messages are OpenAI Chat dicts or AgentMessages.
    """
    units = list(_units(messages))
    head: list[_Message] = []
    while units and keep_system and to_message(units[0][0]).role is MessageRole.SYSTEM:
        head += units.pop(0)
    room = max_tokens - _tokens(head)
    if room < 0:
        head, room = [], max_tokens
    kept: list[list[_Message]] = []
    for unit in reversed(units):
        room -= _tokens(unit)
        if room < 0:
            break
        kept.append(unit)
    return head + [message for unit in reversed(kept) for message in unit]


def _units(messages: Sequence[_Message]) -> Iterator[list[_Message]]:
    """Split into what stays together; what no provider would take is left out."""
    position = 0
    while position < len(messages):
        message = to_message(messages[position])
        due = {call.id for call in message.tool_calls}
        stop = position + 1
        while stop < len(messages) and (result := to_message(messages[stop])).role is MessageRole.TOOL:
            due.discard(result.tool_call_id or "")
            stop += 1
        results = stop - position - 1
        if message.role is not MessageRole.TOOL and not due and results == len(message.tool_calls):
            yield list(messages[position:stop])
        elif message.role is not MessageRole.TOOL and not message.tool_calls:
            yield [messages[position]]
        position = stop


def _tokens(messages: Sequence[_Message]) -> int:
    return estimate_tokens(messages)
