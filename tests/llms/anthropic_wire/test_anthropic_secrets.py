"""A key never shows: not in errors, their chains, representations or logs."""

import base64
from dataclasses import replace

import anthropic
import pytest
from anthropic_scripts import STOP, ended, error_reply, said, start, text, text_reply
from canary import CANARY, everything_of

from power_loop.facts.errors import ConfigError, LLMError
from power_loop.facts.messages import to_message
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer, Hang, Reply, Reset, event

ASK = LLMRequest([to_message("hi")])
SPOKEN = f"invalid x-api-key: {CANARY}. Authorization: Bearer {CANARY}"


FAULTS = [
    error_reply(401, "authentication_error", SPOKEN),
    error_reply(401, "authentication_error", "x" * 290 + CANARY),
    error_reply(429, CANARY, SPOKEN),
    Reply((f"<html>{SPOKEN}</html>".encode(),), 502, {"Content-Type": "text/html"}),
    Reply((f"<html>{SPOKEN}</html>".encode(),), 200, {"Content-Type": "text/html"}),
    Reply((start(), said("error", error={"type": CANARY, "message": SPOKEN}))),
    Reply((event(f"[{CANARY}".encode()),)),
    Reply((start(), ended("refusal", stop_details={"explanation": SPOKEN}), STOP)),
    Reply((start(), text(0, "x"), Reset())),
    Reply((start(), text(0, "x"))),
    Reply(before=(Reset(),)),
    Reply((Hang(),)),
]


@pytest.mark.parametrize("place", ["key", "url", "client"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_shows_the_key(fault: Reply, place, logged):
    async with FaultyServer([replace(fault)]) as server:
        own = None
        url, key = server.base_url, CANARY
        if place == "url":
            url, key = url.replace("//", f"//user:{CANARY}@"), None
        elif place == "client":
            own = anthropic.AsyncAnthropic(base_url=url, auth_token=CANARY)
        llm = AnthropicLLM(model="m", base_url=url, api_key=key, client=own, idle_timeout=0.2)
        with pytest.raises(LLMError) as caught:
            await llm.complete(ASK)
        assert server.requests, "the key was on the wire"
        await llm.close()
        if own is not None:
            await own.close()
    shown = [*everything_of(caught.value), repr(llm), str(llm.base_url), repr(llm._pool._endpoint)]
    assert not [shred for shred in shown if CANARY in shred]
    assert CANARY not in logged.getvalue()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("key", [f"{CANARY}\nmore", f"{CANARY}\x00", f"{CANARY}é"])
def test_a_key_that_no_header_can_carry_is_refused_before_a_library_prints_it(key):
    with pytest.raises(ConfigError) as caught:
        AnthropicLLM(model="m", api_key=key)
    assert not [shred for shred in everything_of(caught.value) if CANARY in shred]


async def test_credentials_in_the_url_are_sent_as_a_header(logged):
    async with FaultyServer([text_reply("x")]) as server:
        url = server.base_url.replace("//", f"//user:{CANARY}@")
        assert (await AnthropicLLM(model="m", base_url=url).complete(ASK)).text == "x"
        token = base64.b64encode(f"user:{CANARY}".encode()).decode()
        assert server.requests[0].headers["authorization"] == f"Basic {token}"
    assert CANARY not in logged.getvalue()


async def test_the_environments_key_is_sent_and_not_shown(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    async with FaultyServer([error_reply(401, "authentication_error", SPOKEN)]) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        with pytest.raises(LLMError) as caught:
            await AnthropicLLM(model="m").complete(ASK)
        sent = server.requests[0].headers
        assert CANARY in {sent.get("x-api-key"), sent.get("authorization", "").removeprefix("Bearer ")}
    assert not [shred for shred in everything_of(caught.value) if CANARY in shred]
