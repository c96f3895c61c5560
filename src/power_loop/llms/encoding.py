"""Writing a request down as one provider wants it: what is the same whatever the wire format."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, Reasoning
from power_loop.llms.media import NO_MEDIA, Documents, Media, media_of
from power_loop.llms.message_cache import MessageCache
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

logger = logging.getLogger("power_loop")

_ENCODE = msgspec.json.Encoder().encode


class BodyEncoder(ABC):
    """Turns requests into bodies; no message and no tool is converted twice.

    ``model`` is used where a request names none, ``convert`` makes what stands for a message on the wire, ``documents``
    says how PDF files are sent.
    """

    def __init__(self, model: str, convert: Callable[..., Any], documents: Documents) -> None:
        self._model = model
        self._documents: Documents = documents
        self._convert = convert
        self._messages = MessageCache(self._converted)
        self._noted = False
        self._tools: tuple[Sequence[ToolDefinition], list[bytes]] = ((), [])

    async def media(self, request: LLMRequest) -> Media:
        """Read the images and documents that ``encode`` will need. Raises InvalidRequestError without a reader."""
        return await media_of(request, self._messages, documents=self._documents)

    def encode(self, request: LLMRequest, media: Media = NO_MEDIA) -> bytes:
        """Return the body. Raises InvalidRequestError for what JSON or the provider cannot carry."""
        try:
            return _ENCODE(self._body(request, media))
        except (UnicodeEncodeError, TypeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise InvalidRequestError(f"The request cannot be written as JSON: {reason}")

    def _encode_tools(self, tools: Sequence[ToolDefinition]) -> list[bytes]:
        known, encoded = self._tools
        if len(known) != len(tools) or any(a is not b for a, b in zip(known, tools, strict=True)):
            encoded = [_ENCODE(self._tool(tool)) for tool in tools]
            self._tools = (tuple(tools), encoded)
        return encoded

    def _converted(self, message: AgentMessage, *given: object) -> object:
        if not self._noted and not isinstance(message.content, str):
            self._note(block for block in message.content if isinstance(block, Reasoning))
        return self._convert(message, *given)

    def _note(self, thoughts: Iterable[Reasoning]) -> None:
        """Log, once, that reasoning is left out: the journal keeps it, and where it came from it is sent again."""
        left_out = next((thought for thought in thoughts if not self._takes(thought)), None)
        if left_out is not None:
            self._noted = True
            logger.info(
                "Reasoning from %s is left out of requests to %s, which cannot take it.",
                left_out.origin or "a wire format that never takes it back",
                self._model,
            )

    @abstractmethod
    def _takes(self, block: Reasoning) -> bool:
        """Tell whether reasoning is sent, as far as this wire format ever sends its own."""

    @abstractmethod
    def _body(self, request: LLMRequest, media: Media) -> dict[str, Any]:
        """Return the fields of the body, in the order in which they are sent."""

    @abstractmethod
    def _tool(self, tool: ToolDefinition) -> dict[str, Any]:
        """Return what stands for a tool on the wire."""


def as_list(encoded: Sequence[bytes]) -> msgspec.Raw:
    """Return a list of values that are JSON already."""
    return msgspec.Raw(b"[" + b",".join(encoded) + b"]")
