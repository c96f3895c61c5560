"""Replies that arrive as they should, and what a listener hears of them."""

import asyncio
import sys
from itertools import pairwise

import openai
import pytest

from power_loop.facts.errors import LLMAuthError, LLMMalformed, MissingExtraError
from power_loop.facts.messages import AgentMessage, MessageRole, Reasoning, Text, ToolCall, to_message
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMDelta, LLMRequest, LLMService, ReplyCall, TextDelta
from power_loop.ports.tools import ToolDefinition
from power_loop.testing.faulty_server import (
    DONE,
    FaultyServer,
    Hang,
    Reply,
    Wait,
    chunk,
    event,
    text_reply,
    tool_reply,
    usage_of,
)

ASK = LLMRequest([to_message("hi")])


def client(server: FaultyServer, **settings) -> OpenAIChatLLM:
    return OpenAIChatLLM(model="scripted", base_url=server.base_url, **settings)


async def reply_to(*steps: bytes, ended: bool = True, **settings):
    """Return the reply that these chunks make."""
    ending = (chunk(finish_reason="stop"), DONE) if ended else ()
    async with FaultyServer([Reply((*steps, *ending))]) as server:
        return await client(server, **settings).complete(ASK)


async def test_text_arrives_with_usage_and_model():
    async with FaultyServer([text_reply("Hel", "lo", usage=usage_of(7, 3))]) as server:
        service: LLMService = client(server)
        response = await service.complete(ASK)
    assert (response.text, response.finish_reason, response.model) == ("Hello", "stop", "scripted")
    assert response.usage == LLMTokenUsage(7, 3)


async def test_tool_calls_keep_their_argument_text():
    calls = (("c1", "look", '{"a":  1}'), ("c2", "look", '{"b": NaN'))
    async with FaultyServer([tool_reply(*calls)]) as server:
        response = await client(server).complete(ASK)
    assert response.tool_calls == tuple(ReplyCall(*call) for call in calls)
    assert response.finish_reason == "tool_calls"


async def test_deltas_arrive_before_the_model_has_finished():
    heard = asyncio.Event()
    deltas: list[LLMDelta] = []

    def listen(delta: LLMDelta) -> None:
        deltas.append(delta)
        heard.set()

    steps = (chunk({"content": "first"}), Wait(heard), chunk({"content": "second"}), chunk(finish_reason="stop"), DONE)
    async with FaultyServer([Reply(steps)]) as server:
        response = await client(server).complete(ASK, on_delta=listen)
    assert deltas == [TextDelta("first"), TextDelta("second")]
    assert response.text == "firstsecond"


async def test_a_listener_that_raises_is_not_taken_for_a_broken_stream():
    def listen(_delta: LLMDelta) -> None:
        raise ValueError("listener")

    async with FaultyServer([text_reply("x")]) as server:
        with pytest.raises(ValueError, match="listener"):
            await client(server).complete(ASK, on_delta=listen)


async def test_a_server_that_lingers_after_its_end_marker_does_not_hold_up_the_reply():
    async with FaultyServer([Reply((*text_reply("a").steps, Hang()))]) as server:
        assert (await client(server).complete(ASK)).text == "a"
        await server.disconnected.wait()


async def test_cancelling_ends_the_http_call():
    heard = asyncio.Event()
    async with FaultyServer([Reply((chunk({"content": "x"}), Hang()))]) as server:
        task = asyncio.ensure_future(client(server).complete(ASK, on_delta=lambda _: heard.set()))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.disconnected.wait()


async def test_cancelling_before_the_headers_ends_the_http_call():
    async with FaultyServer([Reply(before=(Hang(),))]) as server:
        task = asyncio.ensure_future(client(server).complete(ASK))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.disconnected.wait()


def test_each_event_loop_gets_its_own_client():
    async def once(llm: OpenAIChatLLM) -> str:
        async with FaultyServer([text_reply("here")]) as server:
            llm._pool._endpoint = client(server)._pool._endpoint
            return (await llm.complete(ASK)).text

    llm = OpenAIChatLLM(model="m", base_url="http://127.0.0.1:1/v1")
    assert [asyncio.run(once(llm)) for _ in range(3)] == ["here"] * 3
    assert len(llm._pool._clients) == 1


async def test_a_client_of_ones_own_is_used_and_left_open():
    async with FaultyServer([text_reply("a"), text_reply("b")]) as server:
        own = openai.AsyncOpenAI(base_url=server.base_url, api_key="own-key-123456")
        llm = OpenAIChatLLM(model="m", client=own)
        assert (await llm.complete(ASK)).text == "a"
        await llm.close()
        assert (await llm.complete(ASK)).text == "b"
        assert server.requests[0].headers["authorization"] == "Bearer own-key-123456"
        await own.close()


# -- the shapes in which providers send the same things


@pytest.mark.parametrize(
    "key", ["reasoning_content", "reasoning", "thinking", "thinking_content", "reasoning_text", "thought"]
)
async def test_reasoning_is_found_under_every_key(key):
    response = await reply_to(chunk({key: "hm"}), chunk({key: "!"}), chunk({"content": "yes"}))
    assert response.content == (Reasoning("hm!"), Text("yes"))


async def test_reasoning_sent_under_two_keys_is_counted_once():
    response = await reply_to(chunk({"reasoning_content": "hm", "reasoning": "hm"}), chunk({"content": "yes"}))
    assert response.reasoning == "hm"


async def test_typed_blocks_are_split_by_their_type():
    blocks = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    response = await reply_to(chunk({"content": blocks}))
    assert response.content == (Reasoning("hm"), Text("yes"))


@pytest.mark.parametrize("size", range(1, 12))
async def test_think_tags_are_found_however_they_are_cut(size):
    text = "<think>\nhm < 2</think>\n\nyes <b>"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    response = await reply_to(*(chunk({"content": piece}) for piece in pieces))
    assert (response.reasoning, response.text) == ("hm < 2", "yes <b>")


async def test_a_thought_in_the_middle_is_taken_out():
    response = await reply_to(chunk({"content": "a <think>b</think>c"}))
    assert (response.text, response.reasoning) == ("a c", "b")


async def test_a_tag_that_is_only_talked_about_loses_no_text():
    response = await reply_to(chunk({"content": "Write <think> first"}), chunk({"content": ", then answer."}))
    assert response.content == "Write <think> first, then answer."


async def test_a_thought_cut_off_by_the_length_cap_stays_a_thought():
    response = await reply_to(chunk({"content": "<think>long"}), chunk(finish_reason="length"), DONE, ended=False)
    assert (response.text, response.reasoning, response.finish_reason) == ("", "long", "length")


async def test_deltas_add_up_to_the_reply():
    deltas: list[LLMDelta] = []
    steps = (chunk({"content": "<thi"}), chunk({"content": "nk>a</think>\n\nb<"}), chunk(finish_reason="stop"), DONE)
    async with FaultyServer([Reply(steps)]) as server:
        response = await client(server).complete(ASK, on_delta=deltas.append)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == response.text == "b<"


def piece(arguments: str = "", **fields) -> dict:
    name = fields.pop("name", None)
    return fields | {"function": {"arguments": arguments} | ({"name": name} if name else {})}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(
            [[piece(id="a", index=0, name="f")], [piece("{", index=0)], [piece("}", index=0)]],
            [("a", "f", "{}")],
            id="by index",
        ),
        pytest.param(
            [[piece(id="a", name="f")], [piece("{", id="a")], [piece("}", id="a")]],
            [("a", "f", "{}")],
            id="by id",
        ),
        pytest.param(
            [[piece("{}", id="a", name="f", index=0)], [piece("{}", id="b", name="g", index=0)]],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="every call says index 0",
        ),
        pytest.param(
            [[piece(id="a", name="f", index=0)], [piece("{}", id="fresh", index=0)]],
            [("a", "f", "{}")],
            id="a fresh id on every piece",
        ),
        pytest.param(
            [[piece("{}", name="f")], [piece("{}", name="f")]],
            [("", "f", "{}"), ("", "f", "{}")],
            id="neither id nor index",
        ),
        pytest.param(
            [[piece("{", name="f"), piece("[", name="g")], [piece("}"), piece("]")]],
            [("", "f", "{}"), ("", "g", "[]")],
            id="by position in the chunk",
        ),
        pytest.param(
            [[piece(id="a", name="f")], [piece("1")], [piece(id="b", name="g")], [piece("2")]],
            [("a", "f", "1"), ("b", "g", "2")],
            id="one after the other",
        ),
        pytest.param(
            [[piece("{", id="a", index=0, name="f")], [piece("}", id="a", index=0, name="f")]],
            [("a", "f", "{}")],
            id="the name repeated",
        ),
        pytest.param(
            [[piece({"x": 1}, id="a", index=0, name="f")]],
            [("a", "f", '{"x":1}')],
            id="arguments as an object",
        ),
        pytest.param(
            [[piece("1", id="b", index=1, name="g")], [piece("0", id="a", index=0, name="f")]],
            [("b", "g", "1"), ("a", "f", "0")],
            id="out of order",
        ),
    ],
)
async def test_tool_calls_are_put_together(pieces, expected):
    response = await reply_to(*(chunk({"tool_calls": part}) for part in pieces))
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == expected
    assert response.finish_reason == "tool_calls"


async def test_the_legacy_function_call_is_a_tool_call_without_id():
    parts = ({"name": "f", "arguments": "{"}, {"arguments": "}"})
    response = await reply_to(*(chunk({"function_call": part}) for part in parts))
    assert response.tool_calls == (ReplyCall("", "f", "{}"),)


async def test_a_call_without_a_name_is_no_reply():
    with pytest.raises(LLMMalformed, match="no name"):
        await reply_to(chunk({"tool_calls": [piece("{}", id="a", index=0)]}))


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"usage": usage_of(9, 4)}, LLMTokenUsage(9, 4)),
        ({"x_openai_usage": usage_of(9, 4)}, LLMTokenUsage(9, 4)),
        ({"x_usage": {"input_tokens": 9, "output_tokens": 4}}, LLMTokenUsage(9, 4)),
        ({"x_groq": {"usage": usage_of(9, 4)}}, LLMTokenUsage(9, 4)),
        (
            {"usage": usage_of(9, 4) | {"prompt_tokens_details": {"cached_tokens": 5}}},
            LLMTokenUsage(9, 4, cache_read_tokens=5),
        ),
        (
            {"usage": usage_of(9, 4) | {"prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3}},
            LLMTokenUsage(9, 4, cache_read_tokens=6),
        ),
        (
            {"usage": usage_of(9, 4) | {"completion_tokens_details": {"reasoning_tokens": 2}}},
            LLMTokenUsage(9, 4, reasoning_tokens=2),
        ),
        ({"usage": {"prompt_tokens": None, "completion_tokens": "many"}}, LLMTokenUsage()),
    ],
)
async def test_usage_is_read_in_every_spelling(figures, expected):
    payload = {"object": "chat.completion.chunk", "model": "m", "choices": []} | figures
    assert (await reply_to(chunk({"content": "x"}), event(payload))).usage == expected


async def test_carriage_returns_comments_and_other_fields_are_read_as_the_standard_says():
    body = b"".join((chunk({"content": "a"}), b": keep-alive\n\nevent: x\nid: 7\n", chunk({"content": "b"})))
    crlf = (body + chunk(finish_reason="stop") + DONE).replace(b"\n", b"\r\n")
    async with FaultyServer([Reply(tuple(bytes([byte]) for byte in crlf))]) as server:
        assert (await client(server).complete(ASK)).text == "ab"


async def test_an_endpoint_without_the_done_event_needs_to_be_said_so():
    steps = (chunk({"content": "x"}), chunk(finish_reason="stop"))
    async with FaultyServer([Reply(steps)]) as server:
        assert (await client(server, require_done=False).complete(ASK)).text == "x"


# -- requests


async def test_the_request_carries_everything():
    call = AgentMessage(MessageRole.ASSISTANT, (Reasoning("hm"), Text("")), (ToolCall("c1", "look", {"a": 1}),))
    result = AgentMessage(MessageRole.TOOL, "found", tool_call_id="c1")
    request = LLMRequest(
        [to_message("hi"), call, result],
        system_prompt="Be brief.",
        tools=[ToolDefinition("look", "Looks.")],
        tool_choice="none",
        model="other",
        max_tokens=5,
        temperature=0.5,
        response_format={"type": "json_object"},
        extra={"seed": 1, "messages": "not this way"},
    )
    async with FaultyServer([text_reply("x")]) as server:
        await client(server, extra={"seed": 0, "user": "u"}, api_key="key-123456").complete(request)
        received = server.requests[0]
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == "Bearer key-123456"
    assert received.json == {
        "model": "other",
        "tools": [ToolDefinition("look", "Looks.").to_openai_tool()],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "content": "found", "tool_call_id": "c1"},
        ],
        "tool_choice": "none",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "temperature": 0.5,
        "response_format": {"type": "json_object"},
        "seed": 1,
        "user": "u",
    }


async def test_without_tools_nothing_is_said_about_tools():
    async with FaultyServer([text_reply("x")]) as server:
        await client(server).complete(ASK)
        assert {"tools", "tool_choice", "max_tokens", "temperature"}.isdisjoint(server.requests[0].json)


async def test_each_request_begins_with_the_bytes_of_the_one_before():
    messages = [to_message("hi")]
    tools = [ToolDefinition("look", "Looks.", {"type": "object", "properties": {"b": {}, "a": {}}})]
    async with FaultyServer([text_reply("x")] * 4) as server:
        llm = client(server)
        for turn, choice in enumerate(("auto", "auto", "auto", "none")):
            await llm.complete(LLMRequest(list(messages), system_prompt="s", tools=tools, tool_choice=choice))
            call = ToolCall(f"c{turn}", "look", {"b": 1, "a": turn})
            messages += [
                AgentMessage(MessageRole.ASSISTANT, "é", (call,)),
                AgentMessage(MessageRole.TOOL, "ok", tool_call_id=call.id),
            ]
        bodies = [request.body for request in server.requests]
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier[: earlier.rindex(b"}],")])


async def test_earlier_reasoning_is_sent_back_where_a_provider_wants_it():
    said = AgentMessage(MessageRole.ASSISTANT, (Reasoning("hm"), Text("yes")))
    async with FaultyServer([text_reply("x")]) as server:
        await client(server, reasoning_field="reasoning_content").complete(LLMRequest([said]))
        assert server.requests[0].json["messages"][0]["reasoning_content"] == "hm"


def test_converted_messages_are_forgotten_with_the_messages():
    llm = OpenAIChatLLM(model="m", base_url="http://127.0.0.1:1/v1")
    cache = llm._encoder._messages
    kept = to_message("kept")
    for number in range(1000):
        first = bytes(cache.encode(to_message(f"message {number}")))
        assert str(number).encode() in first
    assert cache.encode(kept) is cache.encode(kept)
    assert len(cache) == 1


def test_openai_itself_takes_other_fields_than_the_rest():
    official = OpenAIChatLLM(model="gpt-5-mini", api_key="key-123456", max_tokens=9, temperature=0.0)
    body = official._encoder.encode(ASK)
    assert b'"max_completion_tokens":9' in body
    assert b'"temperature"' not in body
    compatible = OpenAIChatLLM(model="gpt-5-mini", base_url="http://127.0.0.1:1/v1", max_tokens=9, temperature=0.0)
    assert b'"max_tokens":9,"temperature":0.0' in compatible._encoder.encode(ASK)


async def test_without_a_key_openai_is_not_called():
    with pytest.raises(LLMAuthError, match="OPENAI_API_KEY"):
        await OpenAIChatLLM(model="gpt-5-mini").complete(ASK)


async def test_without_the_sdk_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'power-loop\[openai\]'"):
        await OpenAIChatLLM(model="m", base_url="http://127.0.0.1:1/v1").complete(ASK)
