"""The client against a server that was not written here: llama-server, with a real model, over HTTP."""

import asyncio
import json

import pytest
from llama import KEY, WINDOW, llama_server, saying

from power_loop.facts.errors import LLMAuthError, LLMBadRequest, LLMContextTooLong
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.ports.llm import LLMRequest, TextDelta, ToolCallDelta
from power_loop.ports.tools import ToolDefinition

WEATHER = ToolDefinition(
    "weather",
    "Tell the weather of a city.",
    {"type": "object", "properties": {"city": {"enum": ["Lima", "Oslo"]}}, "required": ["city"]},
)

TEMPLATE = """{%- if tools %}<|im_start|>system
You call one of these functions: <tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools><|im_end|>
{% for city in ["Lima", "Oslo", "Lima"] %}<|im_start|>user
How is the weather in {{ city }}?<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "weather", "arguments": {"city": "{{ city }}"}}
</tool_call><|im_end|>
{% endfor %}{% endif %}{% for message in messages %}{% if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content or "" }}{% if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""The usual form of tool calls, with examples from which even a very small model sees what to do."""


@pytest.fixture(scope="module")
def server():
    return llama_server(TEMPLATE, use_jinja=True)


@pytest.fixture
async def connect(server):
    clients = []

    def make(key=KEY, **settings):
        clients.append(
            AnthropicLLM(model="smollm2", base_url=server.listening_address, api_key=key, temperature=0, **settings)
        )
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def test_text_streams_with_usage_and_finish_reason(connect):
    heard = []
    reply = await connect().complete(saying("Say hello.", system_prompt="Be brief."), on_delta=heard.append)
    assert len(heard) > 1
    assert all(isinstance(delta, TextDelta) for delta in heard)
    assert "".join(delta.text for delta in heard) == reply.text != ""
    assert reply.finish_reason == "stop"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens >= len(heard)


async def test_the_cap_of_a_reply_is_honoured(connect):
    reply = await connect().complete(saying("Tell me a story.", max_tokens=5))
    assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 5)


async def test_a_cached_prompt_is_counted_as_a_whole(connect):
    story = saying("Tell me a story.", max_tokens=2)
    first, second = [await connect().complete(story) for _ in range(2)]
    assert first.usage.input_tokens == second.usage.input_tokens >= second.usage.cache_read_tokens > 0


async def test_a_wrong_key_is_an_auth_error_that_does_not_show_it(connect):
    with pytest.raises(LLMAuthError) as caught:
        await connect(key="wrong-key-of-the-tests").complete(saying("Say hello."))
    assert "wrong-key" not in str(caught.value)


async def test_a_prompt_beyond_the_window_is_told_by_its_name(connect):
    with pytest.raises(LLMContextTooLong):
        await connect().complete(saying("dog " * 2 * WINDOW))


async def test_a_request_the_server_does_not_take_is_a_bad_request(connect):
    with pytest.raises(LLMBadRequest):
        await connect().complete(saying("Hello.", extra={"temperature": "hot"}))


async def test_a_tool_is_called_and_its_result_taken(connect):
    heard = []
    question = AgentMessage(MessageRole.USER, "How is the weather in Oslo?")
    request = LLMRequest([question], tools=[WEATHER], max_tokens=60)
    reply = await connect().complete(request, on_delta=heard.append)
    assert reply.finish_reason == "tool_calls"
    (call,) = reply.tool_calls
    arguments = json.loads(call.arguments)
    assert (call.name, arguments) == ("weather", {"city": "Oslo"})
    pieces = [delta.arguments for delta in heard if isinstance(delta, ToolCallDelta)]
    assert "".join(pieces) == call.arguments

    asked = AgentMessage(MessageRole.ASSISTANT, reply.content, (ToolCall(call.id, call.name, arguments),))
    result = AgentMessage(MessageRole.TOOL, "Rain.", tool_call_id=call.id)
    messages = [question, asked, result]
    reply = await connect().complete(LLMRequest(messages, "Be brief.", [WEATHER], "none", max_tokens=30))
    assert reply.text
    more = [AgentMessage(MessageRole.ASSISTANT, reply.content), AgentMessage(MessageRole.USER, "And now?")]
    assert (await connect().complete(LLMRequest([*messages, *more], "Be brief.", max_tokens=10))).text


async def test_cancelling_frees_the_server_for_the_next_call(connect):
    first = asyncio.Event()
    client = connect()
    story = saying("Tell me a long story about a dog.", max_tokens=WINDOW - 100)
    task = asyncio.create_task(client.complete(story, on_delta=lambda _delta: first.set()))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await connect().complete(saying("Say hello.", max_tokens=5))).text
