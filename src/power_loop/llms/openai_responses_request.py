"""From a request of the kernel to the JSON body of an OpenAI Responses request, byte for byte stable.

Fields that stay (model, store, instructions, tools, input) come first and in this order, fields that may change from
call to call behind them: of two requests of one session the earlier one's bytes, up to its last item, begin the
later one's. Each request carries the whole conversation; nothing is kept on the provider's side.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.messages import (
    AgentMessage,
    Block,
    CallSlot,
    Document,
    Image,
    MessageRole,
    Reasoning,
    Text,
    ToolCall,
)
from power_loop.llms.encoding import BodyEncoder, as_list
from power_loop.llms.foreign import is_own
from power_loop.llms.media import Documents, Media, data_url, file_name, media_in, shown_in, with_text
from power_loop.llms.openai_responses_stream import ORIGIN
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

_ENCODE = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset(
    {
        "background",
        "conversation",
        "input",
        "instructions",
        "previous_response_id",
        "store",
        "stream",
        "tools",
    }
)
_ENCRYPTED: Final = "reasoning.encrypted_content"
_REASONING_MODELS = re.compile(r"(o\d|gpt-[5-9](?!.*chat)|codex)")
"""OpenAI's models that reason: they refuse a temperature, and the others refuse to encrypt reasoning."""


class RequestEncoder(BodyEncoder):
    """Turns requests into bodies; figures are used where a request says None.

    ``official``: the endpoint is OpenAI's own, and what its models refuse is left out. ``encrypted_reasoning`` asks
    for reasoning in a form that can be sent back, and sends it back; None does so for OpenAI's reasoning models.
    """

    def __init__(
        self,
        model: str,
        *,
        official: bool,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        encrypted_reasoning: bool | None = None,
        documents: Documents = "native",
    ) -> None:
        super().__init__(self._to_items, documents)
        self._model = model
        self._official = official
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._extra = dict(extra or {})
        self._encrypted = encrypted_reasoning
        self._sends_reasoning = self._encrypts(model)

    def _body(self, request: LLMRequest, media: Media) -> dict[str, Any]:
        model = request.model or self._model
        extra = self._extra | request.extra
        body: dict[str, Any] = {"model": model, "store": False, "stream": True}
        if request.system_prompt:
            body["instructions"] = request.system_prompt
        if request.tools:
            body["tools"] = as_list(self._encode_tools(request.tools))
        items = (self._messages.encode(message, media) for message in request.messages)
        body["input"] = [item for item in items if memoryview(item).nbytes]
        if request.tools:
            body["tool_choice"] = request.tool_choice
        max_tokens = self._max_tokens if request.max_tokens is None else request.max_tokens
        if max_tokens is not None:
            body["max_output_tokens"] = max_tokens
        temperature = self._default_temperature(model) if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        include = [_ENCRYPTED] * self._encrypts(model) + list(extra.get("include") or ())
        if include:
            extra["include"] = list(dict.fromkeys(include))
        if request.response_format is not None:
            extra["text"] = dict(extra.get("text") or {}) | {"format": _text_format(request.response_format)}
        return body | {key: value for key, value in extra.items() if key not in _OWN_FIELDS}

    def _encrypts(self, model: str) -> bool:
        if self._encrypted is not None:
            return self._encrypted
        return self._official and _REASONING_MODELS.match(model) is not None

    def _default_temperature(self, model: str) -> float | None:
        return None if self._official and _REASONING_MODELS.match(model) else self._temperature

    def _tool(self, tool: ToolDefinition) -> dict[str, Any]:
        return {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
            "strict": False,
        }

    def _to_items(self, message: AgentMessage, media: Media) -> msgspec.Raw:
        """Return the message's items as they stand in a list, without its brackets: one message may be several."""
        return msgspec.Raw(_ENCODE(self._items(message, media))[1:-1])

    def _items(self, message: AgentMessage, media: Media) -> list[dict[str, Any]]:
        if message.role is MessageRole.ASSISTANT:
            return self._reply_items(message)
        content = self._parts(message, media) if media_in(message) else message.text
        if message.role is MessageRole.TOOL:
            return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": content}]
        return [{"type": "message", "role": str(message.role), "content": content}]

    def _parts(self, message: AgentMessage, media: Media) -> list[dict[str, Any]]:
        return [self._part(block, media) for block in shown_in(message)]

    def _part(self, block: Block, media: Media) -> dict[str, Any]:
        block = with_text(block, self._documents, media)
        if isinstance(block, Image):
            return {"type": "input_image", "detail": "auto", "image_url": data_url(block, media)}
        if isinstance(block, Document):
            return {"type": "input_file", "filename": file_name(block), "file_data": data_url(block, media)}
        return {"type": "input_text", "text": block.text if isinstance(block, Text) else ""}

    def _reply_items(self, message: AgentMessage) -> list[dict[str, Any]]:
        """Return a reply's items in the order in which the model made them.

        Reasoning at the end led to nothing, and the provider refuses reasoning that nothing follows.
        """
        items: list[dict[str, Any]] = []
        for block in _in_order(message):
            if isinstance(block, ToolCall):
                items.append(_call(block))
            elif isinstance(block, Text) and block.text:
                said = [{"type": "output_text", "text": block.text}]
                items.append({"type": "message", "role": "assistant", "content": said})
            elif isinstance(block, Reasoning) and is_own(block, ORIGIN) and self._sends_reasoning and block.data:
                items.append(_reasoning(block, block.data))
        while items and items[-1]["type"] == "reasoning":
            items.pop()
        return items


def _in_order(message: AgentMessage) -> Iterator[Block | ToolCall]:
    """Yield blocks and calls, each call at its slot and those without one at the end."""
    calls = dict(enumerate(message.tool_calls))
    blocks = (Text(message.content),) if isinstance(message.content, str) else message.content
    for block in blocks:
        if not isinstance(block, CallSlot):
            yield block
        elif block.index in calls:
            yield calls.pop(block.index)
    yield from calls.values()


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = jsontext.encode(call.arguments)
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _reasoning(block: Reasoning, data: str) -> dict[str, Any]:
    name = {"id": block.id} if block.id else {}
    summary = [{"type": "summary_text", "text": block.text}] if block.text else []
    return {"type": "reasoning", **name, "summary": summary, "encrypted_content": data}


def _text_format(response_format: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form of ``response_format`` that this wire has: the fields of ``json_schema`` beside its type."""
    schema = response_format.get("json_schema")
    if not isinstance(schema, Mapping):
        return dict(response_format)
    return {"type": "json_schema", **schema}
