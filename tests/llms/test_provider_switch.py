"""A session goes from provider to provider: each request is valid there, and reasoning goes to its maker only."""

import logging

import pytest
from wires import ANTHROPIC, CHAT, RESPONSES, asks

from power_loop import ConfigError, SqliteStore, StatefulAgentLoop, tool
from power_loop.facts.messages import Reasoning
from power_loop.llms import foreign
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.testing.faulty_server import FaultyServer

ROUTE = [ANTHROPIC, RESPONSES, CHAT, ANTHROPIC, RESPONSES]
FEATURES = {ANTHROPIC: {"thinking": {"type": "adaptive"}}, RESPONSES: {"encrypted_reasoning": True}, CHAT: {}}


@tool(effect="read")
def look(city: str) -> str:
    """Look somewhere."""
    return f"{city} is sunny."


async def travel(path):
    """Drive one session with a service and a loop of its own per stop; return the bodies that each stop sent."""
    session, sent = None, []
    for number, wire in enumerate(ROUTE):
        replies = [wire.calls(asks(number, "look", city=f"City {number}")), wire.text(f"Sunny, says {number}.")]
        async with FaultyServer(replies) as server:
            llm = wire.at(server, api_key="key-of-the-tests", **FEATURES[wire])
            async with StatefulAgentLoop(llm=llm, tools=[look], store=SqliteStore(str(path))) as loop:
                result = await loop.send(f"Question {number}?", session)
                await loop.store.close()
            await llm.close()
            assert (result.status, result.final_text) == ("completed", f"Sunny, says {number}.")
            session = result.session_id
            sent.append([request.body.decode() for request in server.requests])
    return sent


async def test_each_provider_gets_the_conversation_and_its_own_reasoning_only(tmp_path):
    sent = await travel(tmp_path / "sessions.db")
    for number, (wire, bodies) in enumerate(zip(ROUTE, sent, strict=True)):
        for body in bodies:
            assert all(f"City {earlier} is sunny." in body for earlier in range(number))
            assert all(f"Question {earlier}?" in body for earlier in range(number + 1))
            assert wire is ANTHROPIC or '"signature"' not in body
            assert wire is RESPONSES or "encrypted_content" not in body.replace("reasoning.encrypted_content", "")
    assert '"signature":"sig"' in sent[3][0], "its own thoughts come back to Anthropic"
    assert "secret thoughts" in sent[4][0], "and to OpenAI"


def test_what_is_left_out_is_said_once(caplog):
    foreign._tell.cache_clear()
    caplog.set_level(logging.INFO, "power_loop")
    block = Reasoning("hm", signature="s", origin="anthropic")
    assert not any(foreign.is_own(block, "openai_responses") for _ in range(3))
    assert foreign.is_own(block, "anthropic")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "anthropic" in caplog.text


@pytest.mark.parametrize("origin", ["anthropic", "openai_responses"])
def test_reasoning_of_nobody_is_left_out_without_a_word(origin, caplog):
    foreign._tell.cache_clear()
    caplog.set_level(logging.INFO, "power_loop")
    assert not foreign.is_own(Reasoning("hm"), origin)
    assert caplog.records == []


def test_settings_of_the_wrong_type_are_refused_when_they_are_made():
    with pytest.raises(ConfigError, match="thinking"):
        AnthropicLLM(model="claude-sonnet-4-5", api_key="key-of-the-tests", thinking=2_000)
