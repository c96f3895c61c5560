"""From a request of the kernel to the JSON body of an Anthropic Messages request, byte for byte stable.

Fields that stay (model, tools, system, messages) come first and in this order, fields that may change from call to
call behind them. Cache markers aside, each request's blocks are those of the one before plus appended ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, MessageRole, Reasoning
from power_loop.llms.anthropic_blocks import NOTHING_SAID, WireBlock, lines_of, text_block, thought_blocks, to_lines
from power_loop.llms.anthropic_markers import tail_positions
from power_loop.llms.anthropic_schema import to_anthropic_schema
from power_loop.llms.encoding import BodyEncoder, as_list
from power_loop.llms.media import Documents, Media
from power_loop.ports.llm import LLMRequest, ToolChoice
from power_loop.ports.tools import ToolDefinition

CacheTime: TypeAlias = Literal["5m", "1h"]

_ENCODE = msgspec.json.Encoder().encode
_OWN_FIELDS = frozenset({"messages", "tools", "system", "stream"})
_CHOICES: dict[ToolChoice, str] = {"auto": "auto", "none": "none", "required": "any"}
_THOUGHTS = (b'{"type":"thinking"', b'{"type":"redacted_thinking"')
_CALL = b'{"type":"tool_use"'


class _Conversation:
    """The blocks of all messages, and where each message of the wire begins: one message per change of role."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.starts: list[tuple[str, int]] = []

    def add(self, role: str, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        if not self.starts and role != "user":
            self.add("user", [_ENCODE(text_block(NOTHING_SAID))])
        if not self.starts or self.starts[-1][0] != role:
            self.starts.append((role, len(self.blocks)))
        self.blocks += lines

    @property
    def last_reply(self) -> list[bytes]:
        """The blocks of the last assistant message; empty before the first."""
        ends = [start for _, start in self.starts[1:]] + [len(self.blocks)]
        for (role, start), end in zip(reversed(self.starts), reversed(ends), strict=True):
            if role == "assistant":
                return self.blocks[start:end]
        return []

    def mark(self, marker: bytes) -> None:
        replies = [start for role, start in self.starts[-2:] if role == "assistant"]
        for position in tail_positions(self.blocks, replies[0] - 1 if replies else -1):
            self.blocks[position] = self.blocks[position][:-1] + marker

    def to_raw(self) -> msgspec.Raw:
        ends = [start for _, start in self.starts[1:]] + [len(self.blocks)]
        messages = [
            b'{"role":"%s","content":[%s]}' % (role.encode(), b",".join(self.blocks[start:end]))
            for (role, start), end in zip(self.starts, ends, strict=True)
        ]
        return msgspec.Raw(b"[" + b",".join(messages) + b"]")


class RequestEncoder(BodyEncoder):
    """Turns requests into bodies. The settings are used where a request says None.

    ``place`` is who answers: thoughts from elsewhere stay here. ``thinking`` is the API's own setting. It is left out
    of a call that forces a tool, whose cap leaves no room for it, or that continues a reply without a thought of this
    API, since the API refuses those together.
    """

    def __init__(
        self,
        model: str,
        *,
        max_tokens: int,
        temperature: float | None,
        thinking: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
        cache: CacheTime | None,
        documents: Documents,
        place: str = "",
    ) -> None:
        super().__init__(model, self._to_lines, documents)
        self._place = place
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._thinking = thinking
        self._extra = dict(extra)
        control = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
        self._marker = b',"cache_control":' + _ENCODE(control) + b"}" if cache else None

    def _body(self, request: LLMRequest, media: Media) -> dict[str, Any]:
        conversation = self._conversation(request.messages, media)
        max_tokens = self._max_tokens if request.max_tokens is None else request.max_tokens
        thinking = self._thinking_for(request, max_tokens, conversation)
        tools = list(self._encode_tools(request.tools))
        prompt = request.system_prompt or ""
        system = [_ENCODE(text_block(prompt))] if prompt.strip() else []
        if self._marker is not None:
            head = system or tools
            head[-1:] = [block[:-1] + self._marker for block in head[-1:]]
            conversation.mark(self._marker)
        body: dict[str, Any] = {"model": request.model or self._model}
        if tools:
            body["tools"] = as_list(tools)
        if system:
            body["system"] = as_list(system)
        body["messages"] = conversation.to_raw()
        if tools:
            body["tool_choice"] = {"type": _CHOICES[request.tool_choice]}
        body |= {"stream": True, "max_tokens": max_tokens}
        return self._with_settings(body, request, thinking)

    def _with_settings(
        self, body: dict[str, Any], request: LLMRequest, thinking: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if thinking is not None:
            body["thinking"] = thinking
        temperature = None if _thinks(thinking) else self._temperature
        temperature = temperature if request.temperature is None else request.temperature
        if temperature is not None:
            body["temperature"] = temperature
        extra = self._extra | request.extra
        body |= {key: value for key, value in extra.items() if key not in _OWN_FIELDS}
        output = _output_format(request.response_format)
        if output is not None:
            body["output_config"] = (body.get("output_config") or {}) | {"format": output}
        return body

    def _conversation(self, messages: Sequence[AgentMessage], media: Media) -> _Conversation:
        conversation = _Conversation()
        for message in messages:
            role = "assistant" if message.role is MessageRole.ASSISTANT else "user"
            conversation.add(role, lines_of(self._messages.encode(message, media)))
        if not conversation.blocks:
            conversation.add("user", [_ENCODE(text_block(NOTHING_SAID))])
        return conversation

    def _to_lines(self, message: AgentMessage, media: Media) -> msgspec.Raw:
        return to_lines(message, media, self._documents, self._place)

    def _takes(self, block: Reasoning) -> bool:
        return bool(thought_blocks(block, self._place))

    def _tool(self, tool: ToolDefinition) -> WireBlock:
        described = {"description": tool.description} if tool.description else {}
        return {"name": tool.name, **described, "input_schema": {"type": "object"} | tool.input_schema}

    def _thinking_for(
        self, request: LLMRequest, max_tokens: int, conversation: _Conversation
    ) -> Mapping[str, Any] | None:
        thinking = self._thinking
        if thinking is None or not _thinks(thinking):
            return thinking
        if request.tools and request.tool_choice == "required":
            return None
        if thinking.get("type") != "enabled":
            return thinking
        reply = conversation.last_reply
        begun = any(block.startswith(_CALL) for block in reply) and not reply[0].startswith(_THOUGHTS)
        return None if begun or thinking.get("budget_tokens", 0) >= max_tokens else thinking


def _thinks(thinking: Mapping[str, Any] | None) -> bool:
    return thinking is not None and thinking.get("type") != "disabled"


def _output_format(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the API's own setting. Raises InvalidRequestError for JSON without a schema, which it does not have."""
    if response_format is None or response_format.get("type") == "text":
        return None
    schema = (response_format.get("json_schema") or {}).get("schema")
    if not isinstance(schema, Mapping):
        raise InvalidRequestError(
            "Anthropic's API holds replies to a JSON schema only: use response_format={'type': 'json_schema', ...}."
        )
    return {"type": "json_schema", "schema": to_anthropic_schema(schema)}
