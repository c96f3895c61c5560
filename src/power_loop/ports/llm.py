"""The model port: one request in, deltas on the way, one complete reply or a typed error out.

Retries are not a service's business: each attempt is a recorded fact, so the engine makes them. A service
raises the errors of ``facts.errors`` under ``LLMError``; a reply counts only with the provider's end marker.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, Content, MessageRole, ToolCall, reasoning_of, text_of
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.blobs import BlobReader
from power_loop.ports.models import ModelInfo
from power_loop.ports.tools import ToolDefinition

FinishReason: TypeAlias = Literal["stop", "tool_calls", "length", "content_filter"]
ToolChoice: TypeAlias = Literal["auto", "none", "required"]


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the visible reply."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of what the model thinks."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call: ``index`` says which; ``arguments`` is a piece of JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


LLMDelta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta
OnDelta: TypeAlias = Callable[[LLMDelta], None]


def ignore_delta(_delta: LLMDelta) -> None:
    """Drop a delta; the default listener."""


class LLMRequest(msgspec.Struct, frozen=True):
    """Everything one model call needs. ``max_tokens`` caps the reply, it is not the context window.

    ``response_format`` has OpenAI's shape: ``{"type": "json_schema", "json_schema": {"name", "schema", "strict"}}``;
    each service turns it into its provider's own. ``blobs`` reads what Image and Document blocks refer to.
    """

    messages: Sequence[AgentMessage]
    system_prompt: str | None = None
    tools: Sequence[ToolDefinition] = ()
    tool_choice: ToolChoice = "auto"
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    response_format: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    blobs: BlobReader | None = None


class ReplyCall(msgspec.Struct, frozen=True):
    """A tool call as the provider sent it: ``arguments`` is its JSON text, unparsed, so nothing is guessed."""

    id: str
    name: str
    arguments: str = "{}"


class LLMResponse(msgspec.Struct, frozen=True):
    """One complete reply."""

    content: Content = ""
    tool_calls: tuple[ReplyCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: LLMTokenUsage = LLMTokenUsage()
    model: str = ""
    cost: str | None = None
    payload: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The visible text."""
        return text_of(self.content)

    @property
    def reasoning(self) -> str:
        """What the model thought, where the provider shows it."""
        return reasoning_of(self.content)


@runtime_checkable
class LLMService(Protocol):
    """A model. Implement ``complete``; call ``on_delta`` as pieces arrive, or never."""

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the complete reply. Raises an LLMError. Cancelling the task must end the call."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class DescribedLLM(Protocol):
    """A model service that knows what its models can do; an optional part of the port."""

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return what is known of the model; None is the one used where a request names none."""
        ...


def validate_request(request: LLMRequest) -> None:
    """Check the pairing rules that every provider shares.

    Raises InvalidRequestError when a call lacks its result, a result lacks its call or stands elsewhere than
    directly behind its reply in call order, or an id is used twice.
    """
    seen: set[str] = set()
    due: list[str] = []
    for position, message in enumerate(request.messages):
        if due:
            if message.role is not MessageRole.TOOL or message.tool_call_id != due[0]:
                raise InvalidRequestError(f"Message {position}: expected the result of call {due[0]!r}.")
            due.pop(0)
        elif message.role is MessageRole.TOOL:
            raise InvalidRequestError(f"Message {position}: result of {message.tool_call_id!r} without its call.")
        for call in message.tool_calls:
            _check_call(call, seen, position)
            due.append(call.id)
    if due:
        raise InvalidRequestError(f"Call {due[0]!r} has no result.")
    if not request.messages:
        raise InvalidRequestError("A request needs at least one message.")


def _check_call(call: ToolCall, seen: set[str], position: int) -> None:
    if not call.id or call.id in seen:
        raise InvalidRequestError(f"Message {position}: call id {call.id!r} is empty or used twice.")
    seen.add(call.id)


def definition_digest_source(system_prompt: str | None, tools: Sequence[ToolDefinition]) -> str:
    """Return the canonical text that a definition's digest is made of."""
    return jsontext.encode([system_prompt, [tool.to_openai_tool() for tool in tools]])
