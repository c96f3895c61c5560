"""The measured program of request building: a long conversation becomes the body of one wire format.

The floor is ``json.dumps`` of the finished body, which whoever sends the whole conversation has to do at least.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from benchmarks.child import MESSAGES_PER_TURN, Numbers, check
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.llms import anthropic_request, openai_chat_request, openai_responses_request
from power_loop.llms.encoding import BodyEncoder
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

_REPEATS = 9
_TOOLS = [
    ToolDefinition(name, "d" * 100, {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    for name in ("first", "second")
]


def _chat() -> BodyEncoder:
    return openai_chat_request.RequestEncoder(
        "m",
        max_tokens=None,
        max_tokens_field="max_tokens",
        temperature=None,
        extra={},
        reasoning_field=None,
        documents="text",
    )


def _responses() -> BodyEncoder:
    return openai_responses_request.RequestEncoder(
        "m", official=False, max_tokens=None, temperature=None, extra=None, encrypted_reasoning=True, documents="text"
    )


def _anthropic() -> BodyEncoder:
    return anthropic_request.RequestEncoder(
        "m", max_tokens=8192, temperature=None, thinking=None, extra={}, cache="5m", documents="text"
    )


WIRES: Mapping[str, Callable[[], BodyEncoder]] = MappingProxyType(
    {"Chat": _chat, "Responses": _responses, "Anthropic": _anthropic}
)


def conversation(turns: int) -> Iterator[AgentMessage]:
    """Yield the messages of turns with two tool calls each; all texts have 100 characters."""
    for number in range(turns):
        ids = [f"call_{number}_{index}" for index in range(2)]
        calls = tuple(ToolCall(name, tool.name, {"n": 1}) for name, tool in zip(ids, _TOOLS, strict=True))
        yield AgentMessage(MessageRole.USER, "q" * 100)
        yield AgentMessage(MessageRole.ASSISTANT, "t" * 100, calls)
        for name in ids:
            yield AgentMessage(MessageRole.TOOL, "r" * 100, tool_call_id=name)
        yield AgentMessage(MessageRole.ASSISTANT, "a" * 100)


def measure(role: str, wire: str, messages: int) -> Numbers:
    """Return the CPU milliseconds of the first body and of the one a turn later."""
    history = list(conversation(messages // MESSAGES_PER_TURN + 1))
    check(len(history), messages + MESSAGES_PER_TURN, "messages")
    before, after = history[:-MESSAGES_PER_TURN], history
    cold, warm = [], []
    for _ in range(_REPEATS):
        encoder = WIRES[wire]()
        first, earlier = _timed(encoder, before)
        second, later = _timed(encoder, after)
        if role == "floor":
            first, second = _dumped(earlier), _dumped(later)
        cold.append(first)
        warm.append(second)
    return {"cold_ms": statistics.median(cold), "warm_ms": statistics.median(warm)}


def _timed(encoder: BodyEncoder, messages: list[AgentMessage]) -> tuple[float, bytes]:
    request = LLMRequest(messages, "s" * 1000, _TOOLS)

    async def build() -> tuple[float, bytes]:
        began = time.process_time()
        body = encoder.encode(request, await encoder.media(request))
        return (time.process_time() - began) * 1e3, body

    return asyncio.run(build())


def _dumped(body: bytes) -> float:
    plain = json.loads(body)
    began = time.process_time()
    json.dumps(plain, ensure_ascii=False)
    return (time.process_time() - began) * 1e3


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], **json.loads(sys.argv[2]))))
