"""Replies that arrive as they should, and what a listener hears of them."""

import asyncio
import sys

import anthropic
import pytest
from anthropic_scripts import PING, STOP, call, closed, ended, opened, reply, said, start, text, text_reply, thought
from wires import placeless

from power_loop.facts.errors import LLMAuthError, LLMMalformed, MissingExtraError
from power_loop.facts.messages import CallSlot, Reasoning, Text, to_message
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.ports.llm import (
    LLMDelta,
    LLMRequest,
    LLMResponse,
    LLMService,
    ReasoningDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
)
from power_loop.testing.faulty_server import FaultyServer, Hang, Reply, Wait

ASK = LLMRequest([to_message("hi")])


def client(server: FaultyServer, **settings) -> AnthropicLLM:
    return AnthropicLLM(model="scripted", base_url=server.base_url, **settings)


async def play(script: Reply, heard: list[LLMDelta] | None = None, **settings) -> LLMResponse:
    async with FaultyServer([script]) as server:
        llm = client(server, **settings)
        try:
            return await llm.complete(ASK, on_delta=(heard if heard is not None else []).append)
        finally:
            await llm.close()


async def test_text_arrives_with_usage_and_model():
    async with FaultyServer([text_reply("Hel", "lo")]) as server:
        service: LLMService = client(server)
        response = await service.complete(ASK)
    assert (response.content, response.finish_reason, response.model) == ("Hello", "stop", "scripted")
    assert response.usage == LLMTokenUsage(10, 5)
    assert server.requests[0].path == "/v1/messages"


async def test_every_kind_of_block_arrives_in_its_order():
    heard: list[LLMDelta] = []
    blocks = (
        thought(0, "h", "m"),
        opened(1, "redacted_thinking", data="secret"),
        text(2, "see"),
        call(3, "c1", "look", '{"a": ', "1}"),
        text(4, "and"),
        call(5, "c2", "look"),
    )
    response = await play(reply(*blocks, reason="tool_use"), heard)
    assert placeless(response) == (
        Reasoning("hm", "sig", "anthropic"),
        Reasoning("", None, "anthropic", "secret"),
        Text("see"),
        CallSlot(0),
        Text("and"),
    )
    assert response.tool_calls == (ReplyCall("c1", "look", '{"a": 1}'), ReplyCall("c2", "look", "{}"))
    assert response.finish_reason == "tool_calls"
    assert heard == [
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("see"),
        ToolCallDelta(0, "c1", "look"),
        ToolCallDelta(0, arguments='{"a": '),
        ToolCallDelta(0, arguments="1}"),
        TextDelta("and"),
        ToolCallDelta(1, "c2", "look"),
    ]


async def test_calls_behind_all_else_need_no_slots():
    response = await play(reply(text(0, "see"), call(1, "c1", "look"), reason="tool_use"))
    assert response.content == "see"


async def test_a_hidden_thought_is_kept_for_its_signature():
    response = await play(reply(thought(0), text(1, "yes")))
    assert placeless(response) == (Reasoning("", "sig", "anthropic"), Text("yes"))


async def test_arguments_that_come_with_the_beginning_are_read():
    block = opened(0, "tool_use", id="c1", name="look", input={"a": 1}) + closed(0)
    assert (await play(reply(block, reason="tool_use"))).tool_calls == (ReplyCall("c1", "look", '{"a":1}'),)


async def test_cut_off_arguments_keep_their_text():
    response = await play(reply(call(0, "c1", "look", '{"a": "b'), reason="max_tokens"))
    assert (response.tool_calls, response.finish_reason) == ((ReplyCall("c1", "look", '{"a": "b'),), "length")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("a_reason_of_next_year", "stop"),
    ],
)
async def test_stop_reasons_have_their_finish_reasons(reason, finish):
    assert (await play(reply(text(0, "x"), reason=reason))).finish_reason == finish


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 4}, LLMTokenUsage(9, 4)),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 30, "output_tokens": 1},
            {"output_tokens": 4},
            LLMTokenUsage(89, 4, 50, 30),
        ),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 50, "output_tokens": 1},
            {
                "input_tokens": 11,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": None,
                "output_tokens": 4,
            },
            LLMTokenUsage(71, 4, 60),
        ),
        (
            {"input_tokens": 9, "output_tokens": 1},
            {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 5}},
            LLMTokenUsage(9, 7, reasoning_tokens=5),
        ),
        ({"input_tokens": "many", "output_tokens": None}, {"output_tokens": True}, LLMTokenUsage()),
    ],
)
async def test_later_usage_replaces_earlier_and_input_counts_the_whole_prompt(first, last, expected):
    script = Reply((start(first), text(0, "x"), ended(usage=last), STOP))
    assert (await play(script)).usage == expected


async def test_events_and_blocks_of_later_versions_are_passed_over():
    new = said("news", delta=None) + opened(1, "server_gossip", data="x") + said("content_block_stop", index=1)
    assert (await play(reply(text(0, "a"), new, PING, text(2, "b")))).content == "ab"


async def test_deltas_arrive_before_the_model_has_finished():
    heard = asyncio.Event()
    steps = (start(), text(0, "first"), Wait(heard), text(1, "second"), ended(), STOP)
    async with FaultyServer([Reply(steps)]) as server:
        response = await client(server).complete(ASK, on_delta=lambda _: heard.set())
    assert response.text == "firstsecond"


async def test_a_listener_that_raises_is_not_taken_for_a_broken_stream():
    def listen(_delta: LLMDelta) -> None:
        raise RecursionError("listener")

    async with FaultyServer([text_reply("x")]) as server:
        with pytest.raises(RecursionError, match="listener"):
            await client(server).complete(ASK, on_delta=listen)


async def test_a_server_that_lingers_after_its_end_marker_does_not_hold_up_the_reply():
    async with FaultyServer([Reply((*text_reply("a").steps, Hang()))]) as server:
        assert (await client(server).complete(ASK)).text == "a"
        await server.disconnected.wait()


@pytest.mark.parametrize("script", [Reply((start(), Hang())), Reply(before=(Hang(),))])
async def test_cancelling_ends_the_http_call(script):
    async with FaultyServer([script]) as server:
        task = asyncio.ensure_future(client(server).complete(ASK))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.disconnected.wait()


def test_each_event_loop_gets_its_own_client():
    async def once(llm: AnthropicLLM) -> str:
        async with FaultyServer([text_reply("here")]) as server:
            llm._pool._endpoint = client(server)._pool._endpoint
            return (await llm.complete(ASK)).text

    llm = AnthropicLLM(model="m", base_url="http://127.0.0.1:1")
    assert [asyncio.run(once(llm)) for _ in range(3)] == ["here"] * 3
    assert len(llm._pool._clients) == 1


async def test_a_client_of_ones_own_is_used_and_left_open():
    async with FaultyServer([text_reply("a"), text_reply("b")]) as server:
        root = server.base_url.removesuffix("/v1")
        own = anthropic.AsyncAnthropic(base_url=root, api_key="own-key-123456", default_headers={"X-Mine": "yes"})
        llm = AnthropicLLM(model="m", client=own)
        assert (await llm.complete(ASK)).text == "a"
        await llm.close()
        assert (await llm.complete(ASK)).text == "b"
        assert server.requests[0].headers["x-mine"] == "yes"
        await own.close()


async def test_without_a_key_anthropic_is_not_called():
    with pytest.raises(LLMAuthError, match="ANTHROPIC_API_KEY"):
        await AnthropicLLM(model="claude").complete(ASK)


async def test_without_the_sdk_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'power-loop\[anthropic\]'"):
        await AnthropicLLM(model="m", base_url="http://127.0.0.1:1").complete(ASK)


async def test_a_call_without_a_name_is_no_reply():
    with pytest.raises(LLMMalformed, match="no name"):
        await play(reply(opened(0, "tool_use", id="c1", input={})))
