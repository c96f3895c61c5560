"""P22: input in the inbox that nobody can read is skipped and consumed; it holds up nothing and nothing is lost."""

import pytest

from power_loop import StatefulAgentLoop, tool
from power_loop.facts.entries import InputReceived
from power_loop.facts.jsontext import encode
from power_loop.testing import ScriptedLLM, call, reply

UNREADABLE = [
    "no json",
    "5",
    "{}",
    '{"content":5}',
    '{"content":"x","of":"a newer release"}',
    '{"content":"x","role":"tool"}',
    '{"content":' + "[" * 100_000 + "]" * 100_000 + "}",
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_at_rest_it_is_consumed_by_the_next_verb(store, caplog, body):
    loop = StatefulAgentLoop(llm=ScriptedLLM("first"), store=store)
    session = (await loop.send("a")).session_id
    before = await store.read(session)
    await store.enqueue(session, "input", body, now=1)
    result = await loop.resume(session)
    assert (result.status, result.final_text) == ("completed", "first")
    assert not await store.inbox(session)
    assert await store.read(session) == before
    assert (await store.get(session)).lease is None
    assert "invalid_input" in caplog.text
    assert (await loop.list_sessions())[0].waiting_for == ""


async def test_what_stands_beside_it_is_not_lost(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM("first", "second"), store=store)
    session = (await loop.send("a")).session_id
    for body in (UNREADABLE[0], encode(InputReceived("b")), UNREADABLE[3], encode(InputReceived("c"))):
        await store.enqueue(session, "input", body, now=1)
    assert (await loop.resume(session)).final_text == "second"
    assert not await store.inbox(session)
    assert [m["content"] for m in await loop.get_messages(session)] == ["a", "first", "b", "c", "second"]


@pytest.mark.parametrize("good", [False, True])
async def test_a_run_ends_over_it(store, good):
    @tool(effect="read")
    async def work() -> str:
        """Work."""
        await store.enqueue(session, "input", UNREADABLE[0], now=1)
        if good:
            await store.enqueue(session, "input", encode(InputReceived("and?")), now=1)
        return "done"

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("work")), "fine", "more"), tools=[work], store=store)
    session = await loop.new_session()
    assert (await loop.send("go", session)).final_text == ("more" if good else "fine")
    assert not await store.inbox(session)
    assert (await store.get(session)).lease is None


async def test_a_verb_that_only_answers_calls_consumes_it_too(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM("first", "second"), store=store)
    session = (await loop.send("a")).session_id
    await store.enqueue(session, "input", UNREADABLE[0], now=1)
    assert await loop.erase_message(session, 2) == [2]
    assert not await store.inbox(session)
    assert (await loop.send("b", session)).final_text == "second"
