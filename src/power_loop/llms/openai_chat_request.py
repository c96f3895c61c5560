"""From a request of the kernel to the JSON body of an OpenAI Chat request, byte for byte stable.

Fields that stay (model, tools, messages) come first and in this order, fields that may change from call to call
behind them: of two requests of one session the earlier one's bytes, up to its last message, begin the later one's.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from power_loop.facts.messages import AgentMessage, Block, Document, Image, MessageRole, Reasoning, Text, reasoning_of
from power_loop.llms.encoding import BodyEncoder, as_list
from power_loop.llms.media import NO_MEDIA, Documents, Media, data_url, file_name, media_in, shown_in, with_text
from power_loop.llms.message_cache import MessageCache
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

_ENCODE = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset({"messages", "tools", "stream"})
_NO_THOUGHTS = " "
"""Stands for the reasoning of a reply with calls that came from elsewhere: who asks for the field refuses such a reply
without it, and some also an empty one."""
_SEE_BELOW = "The result is in the user message below."


class RequestEncoder(BodyEncoder):
    """Turns requests into bodies. ``defaults`` are used where a request says None.

    ``reasoning_field`` names the field in which earlier reasoning is sent back, for providers that ask for it;
    None sends none. ``documents`` says how PDF files are sent.
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
        documents: Documents = "text",
    ) -> None:
        super().__init__(model, self._to_dict, documents)
        self._max_tokens = max_tokens
        self._max_tokens_field = max_tokens_field
        self._temperature = temperature
        self._extra = dict(extra)
        self._reasoning_field = reasoning_field
        self._attached = MessageCache(self._attachment)

    def _body(self, request: LLMRequest, media: Media) -> dict[str, Any]:
        body: dict[str, Any] = {"model": request.model or self._model}
        if request.tools:
            body["tools"] = as_list(self._encode_tools(request.tools))
        body["messages"] = self._encode_messages(request, media)
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

    def _encode_messages(self, request: LLMRequest, media: Media) -> list[msgspec.Raw]:
        """Return the messages; what tools returned besides text follows the last result of their batch."""
        messages: list[msgspec.Raw] = []
        if request.system_prompt:
            messages.append(msgspec.Raw(_ENCODE({"role": "system", "content": request.system_prompt})))
        attached: list[msgspec.Raw] = []
        for message in request.messages:
            if message.role is not MessageRole.TOOL and attached:
                messages += attached
                attached = []
            messages.append(self._messages.encode(message, media))
            if message.role is MessageRole.TOOL and media_in(message):
                attached.append(self._attached.encode(message, media))
        return messages + attached

    def _takes(self, block: Reasoning) -> bool:
        return bool(block.text) if self._reasoning_field else not block.origin

    def _tool(self, tool: ToolDefinition) -> dict[str, Any]:
        return tool.to_openai_tool()

    def _to_dict(self, message: AgentMessage, media: Media = NO_MEDIA) -> dict[str, Any]:
        fields = message.to_openai_message()
        if media_in(message):
            if message.role is MessageRole.USER:
                fields["content"] = self._parts(message, media)
            else:
                said = [block.text for block in message.content if isinstance(block, Text)]
                fields["content"] = "\n".join(said) or (_SEE_BELOW if message.role is MessageRole.TOOL else "")
        if self._reasoning_field and message.role is MessageRole.ASSISTANT:
            reasoning = reasoning_of(message.content) or (_NO_THOUGHTS if message.tool_calls else "")
            if reasoning:
                fields[self._reasoning_field] = reasoning
        return fields

    def _attachment(self, message: AgentMessage, media: Media) -> dict[str, Any]:
        tool = f"{message.name}, " if message.name else ""
        label = {"type": "text", "text": f"[Returned by the tool call ({tool}{message.tool_call_id}):]"}
        parts = [self._part(block, media) for block in media_in(message)]
        return {"role": "user", "content": [label, *parts]}

    def _parts(self, message: AgentMessage, media: Media) -> list[dict[str, Any]]:
        return [self._part(block, media) for block in shown_in(message)]

    def _part(self, block: Block, media: Media) -> dict[str, Any]:
        block = with_text(block, self._documents, media)
        if isinstance(block, Image):
            return {"type": "image_url", "image_url": {"url": data_url(block, media)}}
        if isinstance(block, Document):
            return {"type": "file", "file": {"filename": file_name(block), "file_data": data_url(block, media)}}
        return {"type": "text", "text": block.text if isinstance(block, Text) else ""}
