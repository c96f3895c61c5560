"""Replies that arrive as they should, and what a listener hears of them."""

import asyncio

import openai
import pytest
from responses_script import called, ending, opening, replying, spoken, steps_of, thought, usage_of
from wires import placeless

from power_loop.facts.messages import CallSlot, Reasoning, Text, to_message
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.openai_responses import OpenAIResponsesLLM
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
from power_loop.testing.faulty_server import DONE, FaultyServer, Hang, Reply, Wait, event

ASK = LLMRequest([to_message("hi")])


def client(server: FaultyServer, **settings) -> OpenAIResponsesLLM:
    return OpenAIResponsesLLM(model="scripted", base_url=server.base_url, **settings)


async def play(reply: Reply, deltas: list[LLMDelta] | None = None) -> LLMResponse:
    async with FaultyServer([reply]) as server:
        return await client(server).complete(ASK, on_delta=(deltas if deltas is not None else []).append)


async def test_text_arrives_with_usage_and_model():
    usage = usage_of(70, 30, cached=50, thinking=20)
    async with FaultyServer([replying(spoken("Hel", "lo"), usage=usage)]) as server:
        service: LLMService = client(server)
        response = await service.complete(ASK)
    assert (response.content, response.finish_reason, response.model) == ("Hello", "stop", "scripted")
    assert response.usage == LLMTokenUsage(70, 30, cache_read_tokens=50, reasoning_tokens=20)


async def test_tool_calls_keep_their_argument_text_and_the_id_that_results_name():
    response = await play(replying(called("c1", "look", '{"a":  1}'), called("c2", "look", '{"b": NaN')))
    assert response.tool_calls == (ReplyCall("c1", "look", '{"a":  1}'), ReplyCall("c2", "look", '{"b": NaN'))
    assert (response.content, response.finish_reason) == ("", "tool_calls")


async def test_reasoning_keeps_what_the_provider_wants_back():
    response = await play(replying(thought("First.", "Then.", name="rs_7", data="opaque"), spoken("Yes.")))
    kept = Reasoning("First.\n\nThen.", origin="openai_responses", data="opaque", id="rs_7")
    assert placeless(response) == (kept, Text("Yes."))


async def test_reasoning_that_says_and_carries_nothing_is_left_out():
    assert (await play(replying(thought(data=None), spoken("Yes.")))).content == "Yes."


async def test_calls_between_other_content_keep_their_place():
    items = (
        thought("one", name="rs_1"),
        called("c1", "look", "{}"),
        thought("two", name="rs_2"),
        called("c2", "look", "{}"),
    )
    response = await play(replying(*items))
    assert [type(block) for block in response.content] == [Reasoning, CallSlot, Reasoning, CallSlot]
    assert [block.index for block in response.content if isinstance(block, CallSlot)] == [0, 1]
    assert [call.id for call in response.tool_calls] == ["c1", "c2"]


async def test_calls_behind_all_else_need_no_place():
    response = await play(replying(thought("hm"), spoken("Look:"), called("c1", "look", "{}")))
    assert [type(block) for block in response.content] == [Reasoning, Text]


async def test_several_messages_stay_apart():
    response = await play(replying(spoken("Let me see.", name="m1"), spoken("Done.", name="m2")))
    assert response.content == (Text("Let me see."), Text("Done."))


async def test_a_refusal_in_words_is_the_text():
    deltas: list[LLMDelta] = []
    assert (await play(replying(spoken("I will", " not.", refusal=True)), deltas)).content == "I will not."
    assert deltas == [TextDelta("I will"), TextDelta(" not.")]


async def test_a_listener_hears_all_kinds_of_pieces():
    deltas: list[LLMDelta] = []
    await play(replying(thought("a", "b"), spoken("c"), called("c1", "look", '{"a":1}')), deltas)
    assert deltas == [
        ReasoningDelta("a"),
        ReasoningDelta("\n\n"),
        ReasoningDelta("b"),
        TextDelta("c"),
        ToolCallDelta(0, "c1", "look"),
        ToolCallDelta(0, arguments='{"a'),
        ToolCallDelta(0, arguments='":1}'),
    ]


async def test_deltas_arrive_before_the_model_has_finished():
    heard = asyncio.Event()
    whole = spoken("first", "second")
    begun, first, *rest = whole.events(0)
    reply = Reply((opening(), begun, first, Wait(heard), *rest, ending(whole)))
    async with FaultyServer([reply]) as server:
        response = await client(server).complete(ASK, on_delta=lambda _delta: heard.set())
    assert response.text == "firstsecond"


async def test_a_reply_at_its_cap_says_so():
    response = await play(replying(spoken("half a sen"), status="incomplete", reason="max_output_tokens"))
    assert (response.text, response.finish_reason) == ("half a sen", "length")


async def test_a_server_without_indexes_and_with_several_names_for_an_item_is_understood():
    call = {"type": "function_call", "call_id": "fc_9", "name": "look", "arguments": ""}
    thinking = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""}
    steps = [
        {"type": "response.output_item.added", "item": thinking},
        {"type": "response.reasoning_text.delta", "item_id": "rs_1", "delta": "hm"},
        {"type": "response.output_item.added", "item": call},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_9", "delta": "{}"},
        {
            "type": "response.output_item.done",
            "item": thinking | {"content": [{"type": "reasoning_text", "text": "hm"}]},
        },
        {"type": "response.output_item.done", "item": call | {"arguments": "{}"}},
        {"type": "response.completed", "response": {"status": "completed"}},
    ]
    deltas: list[LLMDelta] = []
    response = await play(Reply((*map(event, steps), DONE)), deltas)
    assert placeless(response) == (Reasoning("hm", origin="openai_responses", id="rs_1"),)
    assert response.tool_calls == (ReplyCall("fc_9", "look", "{}"),)
    assert deltas == [ReasoningDelta("hm"), ToolCallDelta(0, "fc_9", "look"), ToolCallDelta(0, arguments="{}")]


@pytest.mark.parametrize("left_out", ["done", "output"])
async def test_an_item_is_known_by_its_end_or_by_the_replys(left_out):
    items = (thought("hm"), spoken("Hello"))
    steps = [step for step in steps_of(*items) if left_out != "done" or b"item.done" not in step]
    end = ending(*items) if left_out == "done" else ending(output=[])
    response = await play(Reply((*steps, end)))
    assert [type(block) for block in response.content] == [Reasoning, Text]


async def test_items_are_in_the_order_of_their_indexes():
    first, second = spoken("a", name="m1").events(0), spoken("b", name="m2").events(1)
    response = await play(Reply((*second, *first, ending(output=[]))))
    assert response.content == (Text("a"), Text("b"))


async def test_events_and_items_of_other_kinds_are_passed_over():
    news = event({"type": "response.news", "delta": {"x": 1}, "item": {"type": "novel", "content": 5}})
    response = await play(Reply((news, b": keep-alive\n\n", *steps_of(spoken("x")), ending(spoken("x")))))
    assert response.content == "x"


async def test_a_listener_that_raises_is_not_taken_for_a_broken_stream():
    def listen(_delta: LLMDelta) -> None:
        raise ValueError("listener")

    async with FaultyServer([replying(spoken("x"))]) as server:
        with pytest.raises(ValueError, match="listener"):
            await client(server).complete(ASK, on_delta=listen)


async def test_cancelling_closes_the_connection():
    heard = asyncio.Event()
    begun, first, *_ = spoken("x", "y").events(0)
    async with FaultyServer([Reply((opening(), begun, first, Hang()))]) as server:
        llm = client(server)
        task = asyncio.create_task(llm.complete(ASK, on_delta=lambda _delta: heard.set()))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.disconnected.wait()
        await llm.close()


async def test_a_client_of_ones_own_is_used_and_left_open():
    async with FaultyServer([replying(spoken("x")), replying(spoken("y"))]) as server:
        sdk = openai.AsyncOpenAI(base_url=server.base_url, api_key="own-key-123456", max_retries=5)
        llm = OpenAIResponsesLLM(model="m", client=sdk)
        assert (await llm.complete(ASK)).text == "x"
        await llm.close()
        assert (await llm.complete(ASK)).text == "y"
        assert server.requests[0].headers["authorization"] == "Bearer own-key-123456"
        assert server.requests[0].path == "/v1/responses"
        await sdk.close()
