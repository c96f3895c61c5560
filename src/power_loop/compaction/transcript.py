"""A conversation as text, for the model that sums it up: who said what, tools with names and arguments."""

from collections.abc import Sequence

from power_loop.facts import jsontext
from power_loop.facts.messages import AgentMessage, Document, Image, MessageRole

_CAPS = (8_000, 4_000, 2_000, 1_000, 500, 250)
"""Characters that each message may have, tried in turn until the whole fits."""


def transcript(messages: Sequence[AgentMessage], max_characters: int) -> str:
    """Return the conversation in at most so many characters: long messages lose their middle, then the middle goes."""
    text = ""
    for cap in _CAPS:
        text = "\n\n".join(_lines(messages, cap))
        if len(text) <= max_characters:
            return text
    return shortened(text, max_characters)


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters, or its beginning and end and how much is left out between."""
    if len(text) <= limit:
        return text
    gap = f"\n[... {len(text) - limit} characters left out ...]\n"
    room = max(limit - len(gap), 0)
    head = (room * 2) // 3
    return text[:head] + gap + text[len(text) - (room - head) :]


def _lines(messages: Sequence[AgentMessage], cap: int) -> list[str]:
    names: dict[str, str] = {}
    lines: list[str] = []
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls)
        said = shortened(_said(message), cap)
        if message.role is MessageRole.TOOL:
            lines.append(f"[result of {names.get(message.tool_call_id or '', 'a tool')}]\n{said}")
            continue
        if said:
            lines.append(f"[{message.role}]\n{said}")
        lines += [
            f"[{message.role} calls] {call.name}({shortened(jsontext.encode(call.arguments), cap)})"
            for call in message.tool_calls
        ]
    return lines


def _said(message: AgentMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    seen = [block for block in message.content if isinstance(block, Image | Document)]
    return "\n".join([message.text, *(f"[{block.media_type}]" for block in seen)]).strip()
