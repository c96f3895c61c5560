"""Conversations of the kernel through the real chat client: every body on the wire is valid and extends the last."""

import asyncio
import json

import pytest

from power_loop import AgentLoopConfig, LLMRetryPolicy, StatefulAgentLoop, tool
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.testing.faulty_server import FaultyServer, Hang, Reply, error_reply, text_reply, tool_reply
from power_loop.testing.validator import ProtocolValidator, ProtocolViolation, check_chat_request, check_extends

QUICK = LLMRetryPolicy(max_attempts=3, backoff_initial=0, backoff_max=0)


@tool(effect="read")
async def look(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city} ☀"


@tool
async def fail(n: int) -> str:
    """Fail."""
    raise LookupError(f"{n}")


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def loop_at(server: FaultyServer, **config) -> StatefulAgentLoop:
    llm = OpenAIChatLLM(model="m", base_url=server.base_url)
    settings = AgentLoopConfig(system_prompt="Be kind.", retry_policy=QUICK, **config)
    return StatefulAgentLoop(llm=llm, db_path=":memory:", tools=[look, fail], config=settings)


def checked(server: FaultyServer) -> int:
    wire = ProtocolValidator()
    for request in server.requests:
        wire.check(request.body)
    return wire.bodies


async def test_a_long_conversation_is_valid_and_prefix_stable():
    script = [
        tool_reply(("c1", "look", '{"city": "Lima"}'), ("c2", "fail", '{"n": 1}')),
        tool_reply(("c1", "look", '{"city": "Qu\\u00edto"}'), ("", "look", '{"city": ')),
        text_reply("Both are ", "sunny."),
        error_reply(429, headers={"Retry-After": "0"}),
        error_reply(500),
        text_reply("Still here."),
        tool_reply(("bad id!", "vanish", "{}")),
        text_reply(""),
        text_reply("The end."),
    ]
    async with FaultyServer(script) as server:
        loop = loop_at(server)
        session = (await loop.send("Where is it warm? ☀")).session_id
        for text in ("And now?", "Vanish!", "Are you there?"):
            assert (await loop.send(text, session)).status == "completed"
        assert checked(server) == len(script)
        await loop.llm.close()


async def test_the_last_word_at_the_round_limit_keeps_the_prefix():
    script = [tool_reply(("c1", "look", '{"city": "Lima"}')), text_reply("So far: Lima."), text_reply("Yes.")]
    async with FaultyServer(script) as server:
        loop = loop_at(server, max_rounds=1)
        result = await loop.send("Look around.")
        assert result.status == "hit_round_limit"
        await loop.send("More?", result.session_id)
        assert checked(server) == 3
        assert [request.json["tool_choice"] for request in server.requests] == ["auto", "none", "auto"]
        await loop.llm.close()


@pytest.mark.parametrize("stopped", ["a model call", "after a cut"])
async def test_after_a_cancel_or_a_cut_the_session_asks_validly(stopped):
    whole = tool_reply(("c1", "look", '{"city": "Lima"}'))
    broken = Reply((whole.steps[0], Hang())) if stopped == "a model call" else Reply(whole.steps, cut=60)
    async with FaultyServer([whole, broken, text_reply("Fine."), text_reply("Yes.")]) as server:
        loop = loop_at(server)
        session = await loop.new_session()
        task = asyncio.create_task(loop.send("Look.", session))
        while len(server.requests) < 2:
            await asyncio.sleep(0.001)
        if stopped == "a model call":
            await loop.cancel(session)
        await task
        await loop.resume(session)
        assert (await loop.send("Thanks.", session)).status == "completed"
        assert checked(server) == len(server.requests)
        await loop.llm.close()


async def test_another_definition_is_a_new_prefix_and_the_messages_stay():
    async with FaultyServer([text_reply("One."), text_reply("Two.")]) as server:
        loop = loop_at(server)
        session = (await loop.send("a")).session_id
        other = StatefulAgentLoop(llm=loop.llm, store=loop.store, tools=[look])
        await other.send("b", session)
        first, second = (request.body for request in server.requests)
        check_extends(first, second, definition=False)
        with pytest.raises(ProtocolViolation, match="tools"):
            check_extends(first, second)
        await loop.llm.close()


# -- the validator itself

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
ASKED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
USER = {"role": "user", "content": "hi"}
RESULT = {"role": "tool", "content": "", "tool_call_id": "c1"}
TOOL = {"type": "function", "function": {"name": "look", "description": "", "parameters": {"type": "object"}}}


def body(*messages, **fields):
    return {"model": "m", "messages": list(messages), **fields}


def with_arguments(text):
    return {**ASKED, "tool_calls": [{**CALL, "function": {"name": "look", "arguments": text}}]}


def test_good_bodies_pass():
    check_chat_request(body(USER))
    check_chat_request(json.dumps(body({"role": "system", "content": "s"}, USER, ASKED, RESULT, tools=[TOOL])).encode())
    parts = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    check_chat_request(body(parts, stream=True, stream_options={}, tools=[TOOL], tool_choice="none"))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (b"not json", "body"),
        (b"[]", "body"),
        (body({"role": "user", "content": "a\ud800"}), "body"),
        (body(), "messages"),
        ({"messages": [USER]}, "model"),
        (body({"role": "wizard", "content": "x"}), "role"),
        (body({"role": "user", "content": ""}), "empty"),
        (body({"role": "user", "content": []}), "content"),
        (body({"role": "user", "content": [{"type": "text", "text": ""}]}), "empty"),
        (body({"role": "user", "content": "x", "tool_call_id": "c"}), "tool_call_id"),
        (body({"role": "user", "content": "x", "name": "a b"}), "name"),
        (body(USER, {"role": "assistant", "content": ""}, USER), "empty"),
        (body(USER, {"role": "assistant", "content": "x"}), "last word"),
        (body(USER, ASKED, USER), "c1"),
        (body(USER, ASKED), "no result"),
        (body(USER, RESULT), "without its call"),
        (body(USER, ASKED, RESULT, RESULT), "without its call"),
        (body(USER, ASKED, RESULT, ASKED, RESULT), "twice"),
        (body(USER, {**ASKED, "tool_calls": []}, USER), "left out"),
        (body(USER, {**ASKED, "tool_calls": [{**CALL, "id": ""}]}, RESULT), "id"),
        (body(USER, {**ASKED, "tool_calls": [{**CALL, "id": "c" * 41}]}, RESULT), "id"),
        (body(USER, with_arguments("{oops"), RESULT), "arguments"),
        (body(USER, with_arguments("[1]"), RESULT), "object"),
        (body(USER, with_arguments('{"a": NaN}'), RESULT), "arguments"),
        (body(USER, with_arguments({"a": 1}), RESULT), "text"),
        (body(USER, ASKED, {**RESULT, "content": None}), "content"),
        (body(USER, tools=[]), "tools"),
        (body(USER, tools=[TOOL, TOOL]), "twice"),
        (body(USER, tools=[{"type": "function", "function": {"name": "look"}}]), "Schema"),
        (body(USER, tools=[{"type": "function", "function": {"name": "a b", "parameters": {}}}]), "name"),
        (body(USER, tool_choice="auto"), "tool_choice"),
        (body(USER, tools=[TOOL], tool_choice="maybe"), "tool_choice"),
        (body(USER, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}), "tool_choice"),
        (body(USER, max_tokens=0), "max_tokens"),
        (body(USER, temperature=3), "temperature"),
        (body(USER, stream_options={}), "stream"),
    ],
)
def test_bad_bodies_are_named(wrong, named):
    with pytest.raises(ProtocolViolation, match=named):
        check_chat_request(wrong)


def test_results_out_of_call_order_are_named():
    two = {**ASKED, "tool_calls": [CALL, {**CALL, "id": "c2"}]}
    check_chat_request(body(USER, two, RESULT, {**RESULT, "tool_call_id": "c2"}))
    with pytest.raises(ProtocolViolation, match="c1"):
        check_chat_request(body(USER, two, {**RESULT, "tool_call_id": "c2"}, RESULT))


def test_a_changed_prefix_is_named():
    wire = ProtocolValidator()
    system = {"role": "system", "content": "s"}
    wire.check(body(system, USER))
    wire.check(body(system, USER, ASKED, RESULT))
    for changed in (
        body(system, {"role": "user", "content": "ho"}, ASKED, RESULT),
        body(system, {"content": "hi", "role": "user"}, ASKED, RESULT),
        body(system, USER),
        body(USER, ASKED, RESULT),
        body(system, USER, ASKED, RESULT, tools=[TOOL]),
    ):
        with pytest.raises(ProtocolViolation):
            wire.check(changed)
    wire.check(body(system, USER), view_edited=True)
    wire.check(body(USER, tools=[TOOL]), definition_changed=True)
    assert wire.bodies == 4
    wire.forget()
    wire.check(body({"role": "user", "content": "anew"}))
