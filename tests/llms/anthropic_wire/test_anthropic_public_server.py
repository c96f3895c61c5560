"""The client against a server of other people: ``llm-mock-api``, which checks requests by schemas of its own."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from power_loop.facts.errors import LLMBadRequest
from power_loop.facts.messages import AgentMessage, MessageRole, Text, ToolCall, to_message
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.ports.llm import LLMDelta, LLMRequest, TextDelta
from power_loop.ports.tools import ToolDefinition

COMMAND = Path(sys.executable).with_name("llm-mock-api")
ANSWER = "An answer that comes in several chunks."
RULES = {
    "rules": [
        {"when": {"tool_call_id": "known"}, "reply": {"text": "The result was seen.", "reasoning": "It was."}},
        {"when": "weather", "reply": {"text": "Let me see.", "tools": [{"name": "weather", "args": {"city": "Lima"}}]}},
        {"when": "hello", "reply": ANSWER},
    ]
}


@pytest.fixture
async def base_url(tmp_path: Path) -> AsyncIterator[str]:
    rules = tmp_path / "rules.json5"
    rules.write_text(json.dumps(RULES))
    arguments = ("start", "-p", "0", "-r", str(rules), "-c", "7", "-l", "0", "--log-level", "info")
    server = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert server.stdout is not None
    try:
        seen = b""
        while (address := re.search(rb"Listening on (http://\S+)\s", seen)) is None:
            line = await server.stdout.readline()
            assert line, f"the server ended: {seen.decode()}"
            seen += line
        yield address.group(1).decode()
    finally:
        server.kill()
        await server.communicate()


async def test_text_tools_errors_and_results(base_url: str):
    llm = AnthropicLLM(model="any", base_url=base_url)
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
    result = AgentMessage(MessageRole.TOOL, (Text("sunny"),), tool_call_id="known")
    response = await llm.complete(LLMRequest([question, asked, result], tools=tools, max_tokens=50, temperature=0.0))
    assert (response.text, response.reasoning) == ("The result was seen.", "It was.")

    with pytest.raises(LLMBadRequest, match="HTTP 400"):
        await llm.complete(LLMRequest([question], extra={"model": 5}))
    await llm.close()
