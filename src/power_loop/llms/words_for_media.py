"""What a model is told in place of images and files that it is known not to take.

A provider refuses such a request, and with it every later one of the session, since the image stays in its history.
"""

import weakref
from collections.abc import Sequence

import msgspec

from power_loop.facts.media import PDF
from power_loop.facts.messages import AgentMessage, Block, Document, Image, Text
from power_loop.llms.media import Media, media_in, media_of, with_text
from power_loop.ports.llm import LLMRequest
from power_loop.ports.models import ModelInfo


class WordsForMedia:
    """Replaces what a model does not take, each message once, so that what was encoded of it stays in use."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, frozenset[str]], tuple[weakref.ref[AgentMessage], AgentMessage]] = {}

    def apply(self, messages: Sequence[AgentMessage], info: ModelInfo | None) -> Sequence[AgentMessage]:
        """Return the messages as a model can take them; a model that nobody knows is sent everything."""
        if info is None or not info.inputs_known or {"image", "pdf"} <= info.inputs:
            return messages
        return [
            message if isinstance(message.content, str) else self._spoken(message, info.inputs) for message in messages
        ]

    def _spoken(self, message: AgentMessage, inputs: frozenset[str]) -> AgentMessage:
        key = (id(message), inputs)
        known = self._made.get(key)
        if known is not None and known[0]() is message:
            return known[1]
        content = tuple(_spoken(block, inputs) for block in message.content if not isinstance(block, str))
        if content == message.content:
            return message
        spoken = msgspec.structs.replace(message, content=content)
        made = self._made
        made[key] = (weakref.ref(message, lambda _: made.pop(key, None)), spoken)
        return spoken


async def in_words(request: LLMRequest) -> LLMRequest:
    """Return the request with text for every image and document, for a model that reads nothing else.

    Raises InvalidRequestError where a document has text and the request brings no reader, and what the reader raises.
    """
    if not any(map(media_in, request.messages)):
        return request
    spoken = WordsForMedia().apply(request.messages, ModelInfo(inputs_known=True))
    request = msgspec.structs.replace(request, messages=spoken)
    media = await media_of(request, documents="text")
    return msgspec.structs.replace(request, messages=[_plain(message, media) for message in spoken])


def _plain(message: AgentMessage, media: Media) -> AgentMessage:
    if isinstance(message.content, str):
        return message
    said = (with_text(block, "text", media) for block in message.content)
    lines = [block.text for block in said if isinstance(block, Text) and block.text]
    return msgspec.structs.replace(message, content="\n".join(lines))


def _spoken(block: Block, inputs: frozenset[str]) -> Block:
    if isinstance(block, Image) and "image" not in inputs:
        return Text(f"[Image ({block.media_type}, {block.size} bytes): this model takes no images.]")
    if isinstance(block, Document) and block.media_type == PDF and "pdf" not in inputs and block.text_blob:
        return Document(block.text_blob, "text/plain", block.name)
    if isinstance(block, Document) and block.media_type == PDF and "pdf" not in inputs:
        return Text(f"[File {block.name or 'unnamed'!r} ({PDF}): this model takes no such files, and it has no text.]")
    return block
