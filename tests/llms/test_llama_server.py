"""The chat client against a server that was not written here: llama-server, with a real model, over HTTP."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import pytest
from llama import KEY, WINDOW, llama_server, saying

from power_loop.facts.errors import LLMAuthError, LLMBadRequest, LLMContextTooLong
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMRequest, TextDelta
from power_loop.ports.structured import OutputForm, parse_structured
from power_loop.ports.tools import ToolDefinition

WEATHER = ToolDefinition(
    "weather",
    "Tell the weather of a city.",
    {"type": "object", "properties": {"city": {"enum": ["Lima", "Oslo"]}}, "required": ["city"]},
)


@dataclass
class Trip:
    city: Literal["Lima", "Oslo"]
    nights: Literal[2, 3, 5, 8]


@pytest.fixture(scope="module")
def server():
    return llama_server()


@pytest.fixture
async def connect(server):
    clients = []

    def make(key=KEY, **settings):
        url = f"{server.listening_address}/v1"
        clients.append(OpenAIChatLLM(model="smollm2", base_url=url, api_key=key, temperature=0, **settings))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


async def test_text_streams_with_usage_and_finish_reason(connect):
    heard = []
    reply = await connect().complete(saying("Say hello."), on_delta=heard.append)
    assert len(heard) > 1
    assert all(isinstance(delta, TextDelta) for delta in heard)
    assert "".join(delta.text for delta in heard) == reply.text != ""
    assert reply.finish_reason == "stop"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens >= len(heard)


async def test_the_first_delta_arrives_before_the_end(connect):
    first = asyncio.Event()
    story = saying("Tell me a long story about a dog.", max_tokens=100)
    task = asyncio.create_task(connect().complete(story, on_delta=lambda _delta: first.set()))
    await first.wait()
    assert not task.done()
    assert (await task).finish_reason == "length"


async def test_the_cap_of_a_reply_is_honoured(connect):
    reply = await connect().complete(saying("Tell me a story.", max_tokens=5))
    assert (reply.finish_reason, reply.usage.output_tokens) == ("length", 5)


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
        await connect().complete(saying("Hello.", extra={"response_format": {"type": "nonsense"}}))


async def test_offered_tools_are_accepted(connect):
    # The model's template ignores them, so whether one is called says nothing about the client.
    reply = await connect().complete(saying("How is the weather in Oslo?", tools=[WEATHER], max_tokens=10))
    assert reply.finish_reason in {"stop", "length", "tool_calls"}


async def test_a_reply_is_held_to_a_schema(connect):
    asked = OutputForm.of(Trip).spec.to_openai_response_format()
    reply = await connect().complete(saying("Plan a trip.", response_format=asked, max_tokens=60))
    assert isinstance(parse_structured(reply.text, Trip), Trip)


async def test_a_conversation_with_a_tool_round_is_accepted(connect):
    call = ToolCall("call_1", "weather", {"city": "Oslo"})
    messages = [
        AgentMessage(MessageRole.USER, "How is the weather in Oslo?"),
        AgentMessage(MessageRole.ASSISTANT, "", (call,)),
        AgentMessage(MessageRole.TOOL, "Rain.", tool_call_id="call_1"),
    ]
    reply = await connect().complete(LLMRequest(messages, "Be brief.", [WEATHER], "none", max_tokens=30))
    assert reply.text
    assert reply.tool_calls == ()


async def test_cancelling_frees_the_server_for_the_next_call(connect):
    first = asyncio.Event()
    client = connect()
    story = saying("Tell me a long story about a dog.", max_tokens=WINDOW - 100)
    task = asyncio.create_task(client.complete(story, on_delta=lambda _delta: first.set()))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await client.complete(saying("Say hello."))).finish_reason == "stop"
