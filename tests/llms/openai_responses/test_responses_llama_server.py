"""The Responses client against a server that was not written here: llama-server, with a real model, over HTTP."""

import asyncio
import json

import pytest
from llama import KEY, WINDOW, llama_server, saying
from responses_script import said

from power_loop.facts.errors import LLMAuthError, LLMBadRequest, LLMContextTooLong
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.ports.llm import LLMRequest, TextDelta, ToolCallDelta
from power_loop.ports.tools import ToolDefinition

WEATHER = ToolDefinition(
    "weather",
    "Tell the weather of a city.",
    {"type": "object", "properties": {"city": {"enum": ["Lima", "Oslo"]}}, "required": ["city"]},
)
TEMPLATE = """\
{%- if tools %}<|im_start|>system
# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}{% for message in messages %}{% if message.role == "assistant" and message.tool_calls %}<|im_start|>assistant
{%- if message.content %}
{{ message.content }}{% endif %}{% for tool_call in message.tool_calls %}{% set tool_call = tool_call.function %}
<tool_call>
{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% elif message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""The widespread form of tool calls, which the model's own template does not have; a small model can repeat it."""
REPEAT = (
    'Repeat exactly this text and nothing else: <tool_call> {"name": "weather", "arguments": {"city": "Oslo"}} '
    "</tool_call>"
)


@pytest.fixture(scope="module")
def server():
    return llama_server(TEMPLATE)


@pytest.fixture
async def connect(server):
    clients = []

    def make(key=KEY, **settings):
        url = f"{server.listening_address}/v1"
        clients.append(OpenAIResponsesLLM(model="smollm2", base_url=url, api_key=key, temperature=0, **settings))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def test_text_streams_with_usage(connect):
    heard = []
    reply = await connect().complete(saying("Say hello.", max_tokens=20), on_delta=heard.append)
    assert len(heard) > 1
    assert all(isinstance(delta, TextDelta) for delta in heard)
    assert "".join(delta.text for delta in heard) == reply.text != ""
    assert reply.finish_reason == "stop"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens >= len(heard)


async def test_a_tool_is_called_and_its_result_is_read(connect):
    heard = []
    client = connect(encrypted_reasoning=True)
    question = AgentMessage(MessageRole.USER, REPEAT)
    reply = await client.complete(LLMRequest([question], tools=[WEATHER], max_tokens=60), on_delta=heard.append)
    call = reply.tool_calls[0]
    assert (call.name, json.loads(call.arguments), reply.finish_reason) == ("weather", {"city": "Oslo"}, "tool_calls")
    pieces = [delta for delta in heard if isinstance(delta, ToolCallDelta) and delta.index == 0]
    assert (pieces[0].id, pieces[0].name) == (call.id, call.name)
    assert "".join(delta.arguments for delta in pieces) == call.arguments

    results = [AgentMessage(MessageRole.TOOL, "Rain.", tool_call_id=call.id) for call in reply.tool_calls]
    history = [question, said(reply), *results]
    reply = await client.complete(LLMRequest(history, "Be brief.", [WEATHER], "none", max_tokens=20))
    assert reply.text
    assert reply.usage.cache_read_tokens > 0


async def test_a_wrong_key_is_an_auth_error_that_does_not_show_it(connect):
    with pytest.raises(LLMAuthError) as caught:
        await connect(key="wrong-key-of-the-tests").complete(saying("Say hello."))
    assert "wrong-key" not in str(caught.value)
    assert caught.value.status == 401


async def test_a_prompt_beyond_the_window_is_told_by_its_name(connect):
    with pytest.raises(LLMContextTooLong):
        await connect().complete(saying("dog " * 2 * WINDOW))


async def test_a_request_the_server_does_not_take_is_a_bad_request(connect):
    with pytest.raises(LLMBadRequest):
        await connect().complete(saying("Hello.", extra={"temperature": "warm"}))


async def test_cancelling_frees_the_server_for_the_next_call(connect):
    first = asyncio.Event()
    client = connect()
    story = saying("Tell me a long story about a dog.", max_tokens=WINDOW - 100)
    task = asyncio.create_task(client.complete(story, on_delta=lambda _delta: first.set()))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.complete(saying("Say hello.", max_tokens=10))).text
