"""P5: a session goes from provider to provider, each time in another process, and each is sent what it can take."""

import asyncio
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic_scripts
import pytest
import responses_script
from wires import ANTHROPIC, CHAT, RESPONSES, WireFormat

from power_loop import ConfigError, StatefulAgentLoop, tool
from power_loop.facts.messages import AgentMessage, MessageRole, Reasoning, Text, ToolCall, to_message
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.llms.origins import place_of
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import DONE, FaultyServer, Reply, chunk, error_reply, text_reply
from power_loop.testing.validator import check_chat_request

TURN = """
import sys
from power_loop import ConfigError, StatefulAgentLoop, tool
from power_loop.llms.{module} import {service}
@tool(effect="read")
def look(city: str) -> str:
    "Return the weather."
    return "rain in " + city
url, path, *session = sys.argv[1:]
llm = {service}(model="scripted", base_url=url, {settings})
loop = StatefulAgentLoop(llm=llm, db_path=path, tools=[look])
result = loop.send_sync("How is it?", *session)
assert result.status == "completed", result
print(result.session_id)
loop.close_sync()
"""
PROGRAMS = {
    ANTHROPIC: TURN.format(
        module="anthropic",
        service="AnthropicLLM",
        settings="thinking={'type': 'enabled', 'budget_tokens': 1024}, max_tokens=4096",
    ),
    RESPONSES: TURN.format(
        module="openai_responses", service="OpenAIResponsesLLM", settings="encrypted_reasoning=True"
    ),
    CHAT: TURN.format(
        module="openai_chat", service="OpenAIChatLLM", settings="reasoning_field='reasoning_content'"
    ),
}  # fmt: skip


@tool(effect="read")
def look(city: str) -> str:
    """Return the weather."""
    return f"rain in {city}"


WIRE_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def turn_of(wire: WireFormat, number: int) -> list[Reply]:
    """A reply that thinks and asks for two tools, one with an id that no provider would take, and the answer."""
    name, given = f"call_{number}", '{"city": "Lima"}'
    if wire is ANTHROPIC:
        blocks = (
            anthropic_scripts.thought(0, "clear", signature=f"signed {number}"),
            anthropic_scripts.opened(1, "redacted_thinking", data=f"hidden {number}") + anthropic_scripts.closed(1),
            anthropic_scripts.call(2, name, "look", given),
            anthropic_scripts.text(3, "and"),
            anthropic_scripts.call(4, "no id: ä", "look", given),
        )
        return [anthropic_scripts.reply(*blocks, reason="tool_use"), wire.text("Rain.")]
    if wire is RESPONSES:
        items = (
            responses_script.thought(name=f"rs_{number}", data=f"sealed {number}"),
            responses_script.called(name, "look", given),
            responses_script.thought(name=f"rs_{number}b", data=f"sealed {number} too"),
            responses_script.called("x" * 64, "look", given),
        )
        return [responses_script.replying(*items), wire.text("Rain.")]
    thinks = chunk({"reasoning_content": "aha"})
    calls = [
        chunk({"tool_calls": [{"index": at, "id": one, "function": {"name": "look", "arguments": given}}]})
        for at, one in enumerate((name, "call_1"))
    ]
    return [Reply((thinks, *calls, chunk(finish_reason="tool_calls"), DONE)), text_reply("Rain.")]


# -- what each wire asks of a request


def check_anthropic(body: dict[str, Any]) -> None:
    messages = body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
    used: list[str] = []
    for asked, answered in zip(messages[1::2], messages[2::2], strict=True):
        ids = [block["id"] for block in asked["content"] if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in answered["content"] if block["type"] == "tool_result"]
        assert ids == results
        used += ids
    assert len(set(used)) == len(used)
    assert all(WIRE_ID.fullmatch(name) for name in used)
    thoughts = [block for message in messages for block in message["content"] if "thinking" in block["type"]]
    assert all(
        block.get("signature", "").startswith("signed") or block.get("data", "").startswith("hidden")
        for block in thoughts
    )
    last_reply = [message for message in messages if message["role"] == "assistant"][-1:]
    if "thinking" in body and last_reply and any(block["type"] == "tool_use" for block in last_reply[0]["content"]):
        assert "thinking" in last_reply[0]["content"][0]["type"]


def check_responses(body: dict[str, Any]) -> None:
    items = body["input"]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert [item["call_id"] for item in items if item["type"] == "function_call_output"] == calls
    assert len(set(calls)) == len(calls)
    assert all(WIRE_ID.fullmatch(name) for name in calls)
    for item, following in zip(items, [*items[1:], None], strict=True):
        if item["type"] == "reasoning":
            assert item["encrypted_content"].startswith("sealed")
            assert following["type"] == "function_call"


def check_chat(body: dict[str, Any]) -> None:
    check_chat_request(body)
    asking = [message for message in body["messages"] if message.get("tool_calls")]
    assert all(message["reasoning_content"] for message in asking)


CHECKS = {ANTHROPIC: check_anthropic, RESPONSES: check_responses, CHAT: check_chat}
ROUTE = [ANTHROPIC, RESPONSES, CHAT, ANTHROPIC, RESPONSES]


async def test_a_session_goes_from_provider_to_provider_and_from_process_to_process(tmp_path: Path):
    path, session = str(tmp_path / "sessions.db"), []
    scripts = {wire: [one for at, to in enumerate(ROUTE) if to is wire for one in turn_of(wire, at)] for wire in CHECKS}
    async with (
        FaultyServer(scripts[ANTHROPIC]) as one,
        FaultyServer(scripts[RESPONSES]) as two,
        FaultyServer(scripts[CHAT]) as three,
    ):
        servers = {ANTHROPIC: one, RESPONSES: two, CHAT: three}
        for wire in ROUTE:
            command = [sys.executable, "-c", PROGRAMS[wire], servers[wire].base_url, path, *session]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            session = [done.stdout.strip()]
    for wire, server in servers.items():
        assert len(server.requests) == len(scripts[wire])
        for request in server.requests:
            CHECKS[wire](request.json)
    back = one.requests[-1].json
    assert "thinking" in back  # its own thoughts came back to it, those of the others did not keep it from thinking
    assert all(word in json.dumps(back) for word in ("signed 0", "hidden 0", "signed 3"))
    again = json.dumps(two.requests[-1].json)
    assert all(word in again for word in ("sealed 1", "sealed 1 too", "sealed 4"))


async def test_another_provider_goes_on_in_the_middle_of_a_round(tmp_path: Path):
    """Its API refuses thinking behind calls that were made without its own."""
    path = tmp_path / "sessions.db"
    calls, _ = turn_of(RESPONSES, 0)
    async with FaultyServer([calls, error_reply(400)]) as one, FaultyServer([ANTHROPIC.text("Rain.")]) as two:
        first = RESPONSES.at(one, encrypted_reasoning=True)
        loop = StatefulAgentLoop(llm=first, db_path=path, tools=[look])
        cut_off = await loop.send("How is it?")
        assert cut_off.status == "error"
        await loop.close()
        await first.close()
        second = ANTHROPIC.at(two, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=4096)
        loop = StatefulAgentLoop(llm=second, db_path=path, tools=[look])
        assert (await loop.resume(cut_off.session_id)).final_text == "Rain."
        await loop.close()
        await second.close()
        body = two.requests[0].json
    check_anthropic(body)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use", "tool_use"]


async def test_what_one_endpoint_sealed_is_not_sent_to_another_of_the_same_wire(tmp_path: Path):
    """A provider refuses what it did not make, and with it every later request of the session."""

    async def turn(server: FaultyServer, *session: str) -> str:
        llm = RESPONSES.at(server, encrypted_reasoning=True)
        loop = StatefulAgentLoop(llm=llm, db_path=tmp_path / "sessions.db")
        result = await loop.send("How is it?", *session)
        await loop.close()
        await llm.close()
        return result.session_id

    def speaks(data: str) -> Reply:
        return responses_script.replying(responses_script.thought(data=data), responses_script.spoken("Rain."))

    async with FaultyServer([speaks("here"), speaks("here too")]) as here, FaultyServer([speaks("there")]) as there:
        session = await turn(here)
        await turn(there, session)
        await turn(here, session)
    sent = [[item.get("encrypted_content") for item in server.requests[-1].json["input"]] for server in (there, here)]
    assert [set(filter(None, items)) for items in sent] == [set(), {"here"}]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://user:secret@models.example:8443/v1", "models.example:8443"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com", "anthropic"),
        ("https://notanthropic.com", "notanthropic.com"),
    ],
)
def test_a_place_is_a_host_without_secrets_and_platforms_that_trust_each_other_are_one(url: str, place: str):
    assert place_of(url) == place


# -- the note


def chat_encoder(field: str | None) -> RequestEncoder:
    return RequestEncoder(
        "other", max_tokens=None, max_tokens_field="max_tokens", temperature=None, extra={}, reasoning_field=field
    )


def replied(*blocks: Any, calls: tuple[ToolCall, ...] = ()) -> AgentMessage:
    return AgentMessage(MessageRole.ASSISTANT, blocks, calls)


def test_reasoning_that_is_left_out_is_noted_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "power_loop")
    encoder = chat_encoder(None)
    encoder.encode(LLMRequest([to_message("hi"), replied(Reasoning("own words"), Text("yes"))]))
    assert caplog.messages == []
    foreign = [replied(Reasoning("", data="sealed", origin="openai_responses@there"), Text(str(n))) for n in range(3)]
    encoder.encode(LLMRequest([to_message("hi"), *foreign]))
    assert caplog.messages == [
        "Reasoning from openai_responses@there is left out of requests to other, which cannot take it."
    ]
    assert "sealed" not in caplog.text


def test_thoughts_of_another_provider_are_words_where_words_are_taken(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "power_loop")
    thought = Reasoning("clear", "signed", "anthropic")
    body = json.loads(chat_encoder("reasoning_content").encode(LLMRequest([to_message("hi"), replied(thought)])))
    assert body["messages"][1]["reasoning_content"] == "clear"
    assert "signed" not in json.dumps(body)
    assert caplog.messages == []


def test_settings_of_the_wrong_type_are_refused_when_they_are_made():
    with pytest.raises(ConfigError, match="thinking"):
        AnthropicLLM(model="claude-sonnet-4-5", api_key="key-of-the-tests", thinking=2_000)
