"""The client against a server of other people."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mock_api import mock_api

from power_loop.facts.errors import LLMBadRequest
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall, to_message
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMDelta, LLMRequest, TextDelta
from power_loop.ports.tools import ToolDefinition

ANSWER = "An answer that comes in several chunks."
RULES = [
    {"when": {"tool_call_id": "known"}, "reply": "The result was seen."},
    {"when": "weather", "reply": {"text": "Let me see.", "tools": [{"name": "weather", "args": {"city": "Lima"}}]}},
    {"when": "hello", "reply": ANSWER},
]


@pytest.fixture
async def base_url(tmp_path: Path) -> AsyncIterator[str]:
    async with mock_api(tmp_path, *RULES) as url:
        yield url + "/v1"


async def test_text_tools_errors_and_results(base_url: str):
    llm = OpenAIChatLLM(model="any", base_url=base_url)
    deltas: list[LLMDelta] = []
    response = await llm.complete(LLMRequest([to_message("hello")], system_prompt="Be kind."), on_delta=deltas.append)
    assert response.text == "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == ANSWER
    assert len(deltas) > 1
    assert response.usage.total_tokens > 0

    question = to_message("weather?")
    tools = [ToolDefinition("weather", "Tells the weather.")]
    response = await llm.complete(LLMRequest([question], tools=tools))
    assert (response.text, response.finish_reason) == ("Let me see.", "tool_calls")
    (call,) = response.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Lima"})

    asked = AgentMessage(MessageRole.ASSISTANT, response.content, (ToolCall("known", "weather", {"city": "Lima"}),))
    result = AgentMessage(MessageRole.TOOL, "sunny", tool_call_id="known")
    response = await llm.complete(LLMRequest([question, asked, result], tools=tools, max_tokens=50, temperature=0.0))
    assert response.text == "The result was seen."

    with pytest.raises(LLMBadRequest, match="HTTP 400"):
        await llm.complete(LLMRequest([question], extra={"model": 5}))
    await llm.close()
