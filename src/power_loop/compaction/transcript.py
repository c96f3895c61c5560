"""A conversation as text, for the model that sums it up: who said what, tools with names and arguments."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from power_loop.facts import jsontext
from power_loop.facts.messages import AgentMessage, Document, Image, MessageRole

_CAPS = (8_000, 4_000, 2_000, 1_000, 500, 250)
"""Characters that each message may have, tried in turn until the whole fits."""
_GAP = "\n\n"


class _Part(NamedTuple):
    """Something said: ``text`` between what frames it."""

    head: str
    text: str
    tail: str = ""


def transcript(messages: Sequence[AgentMessage], max_characters: int) -> str:
    """Return the conversation in at most so many characters: long messages lose their middle, then the middle goes."""
    parts = list(_parts(messages))
    frame = sum(len(part.head) + len(part.tail) + len(_GAP) for part in parts)
    lengths = [len(part.text) for part in parts]
    fitting = (cap for cap in _CAPS if frame + sum(min(length, cap) for length in lengths) <= max_characters)
    cap = next(fitting, _CAPS[-1])
    text = _GAP.join(f"{part.head}{shortened(part.text, cap)}{part.tail}" for part in parts)
    return shortened(text, max_characters)


def shortened(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters, or its beginning and end and how much is left out between."""
    if len(text) <= limit:
        return text
    gap = f"\n[... {len(text) - limit} characters left out ...]\n"
    room = max(limit - len(gap), 0)
    head = (room * 2) // 3
    return text[:head] + gap + text[len(text) - (room - head) :]


def _parts(messages: Sequence[AgentMessage]) -> Iterator[_Part]:
    names: dict[str, str] = {}
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls)
        said = _said(message)
        if message.role is MessageRole.TOOL:
            yield _Part(f"[result of {names.get(message.tool_call_id or '', 'a tool')}]\n", said)
        elif said:
            yield _Part(f"[{message.role}]\n", said)
        for call in message.tool_calls:
            yield _Part(f"[{message.role} calls] {call.name}(", jsontext.encode(call.arguments), ")")


def _said(message: AgentMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    seen = [block for block in message.content if isinstance(block, Image | Document)]
    return "\n".join([message.text, *(f"[{block.media_type}]" for block in seen)]).strip()
