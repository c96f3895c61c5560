"""From a request of the kernel to the JSON body of an OpenAI Chat request, byte for byte stable.

Fields that stay (model, tools, messages) come first and in this order, fields that may change from call to call
behind them: of two requests of one session the earlier one's bytes, up to its last message, begin the later one's.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, MessageRole, reasoning_of
from power_loop.llms.message_cache import MessageCache
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

_ENCODE = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset({"messages", "tools", "stream"})


class RequestEncoder:
    """Turns requests into bodies. ``defaults`` are used where a request says None.

    ``reasoning_field`` names the field in which earlier reasoning is sent back, for providers that ask for it;
    None sends none.
    """

    def __init__(
        self,
        model: str,
        *,
        max_tokens: int | None,
        max_tokens_field: str,
        temperature: float | None,
        extra: Mapping[str, Any],
        reasoning_field: str | None,
    ) -> None:
        self._model = model
        self._max_tokens = max_tokens
        self._max_tokens_field = max_tokens_field
        self._temperature = temperature
        self._extra = dict(extra)
        self._reasoning_field = reasoning_field
        self._messages = MessageCache(self._to_dict)
        self._tools: tuple[tuple[ToolDefinition, ...], msgspec.Raw] = ((), msgspec.Raw(b"[]"))

    def encode(self, request: LLMRequest) -> bytes:
        """Return the body. Raises InvalidRequestError for text or values that JSON cannot carry."""
        try:
            return _ENCODE(self._body(request))
        except (UnicodeEncodeError, TypeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise InvalidRequestError(f"The request cannot be written as JSON: {reason}")

    def _body(self, request: LLMRequest) -> dict[str, Any]:
        messages = [self._messages.encode(message) for message in request.messages]
        if request.system_prompt:
            messages.insert(0, msgspec.Raw(_ENCODE({"role": "system", "content": request.system_prompt})))
        body: dict[str, Any] = {"model": request.model or self._model}
        if request.tools:
            body["tools"] = self._encode_tools(tuple(request.tools))
        body["messages"] = messages
        if request.tools:
            body["tool_choice"] = request.tool_choice
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        max_tokens = self._max_tokens if request.max_tokens is None else request.max_tokens
        if max_tokens is not None:
            body[self._max_tokens_field] = max_tokens
        temperature = self._temperature if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        if request.response_format is not None:
            body["response_format"] = request.response_format
        extra = self._extra | request.extra
        return body | {key: value for key, value in extra.items() if key not in _OWN_FIELDS}

    def _encode_tools(self, tools: tuple[ToolDefinition, ...]) -> msgspec.Raw:
        known, raw = self._tools
        if len(known) != len(tools) or any(a is not b for a, b in zip(known, tools, strict=True)):
            raw = msgspec.Raw(_ENCODE([tool.to_openai_tool() for tool in tools]))
            self._tools = (tools, raw)
        return raw

    def _to_dict(self, message: AgentMessage) -> dict[str, Any]:
        fields = message.to_openai_message()
        if self._reasoning_field and message.role is MessageRole.ASSISTANT:
            reasoning = reasoning_of(message.content)
            if reasoning:
                fields[self._reasoning_field] = reasoning
        return fields
