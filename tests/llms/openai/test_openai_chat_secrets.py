"""A key never shows: not in errors, their chains, representations or logs."""

import asyncio
import base64
from dataclasses import replace

import pytest
from canary import CANARY, everything_of

from power_loop.facts.errors import ConfigError, LLMError
from power_loop.facts.messages import to_message
from power_loop.llms.explain import redact
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import (
    DONE,
    FaultyServer,
    Hang,
    Reply,
    Reset,
    chunk,
    error_reply,
    event,
    text_reply,
)

ASK = LLMRequest([to_message("hi")])
SPOKEN = f"Incorrect API key provided: {CANARY}. Authorization: Bearer {CANARY}"


FAULTS = [
    error_reply(401, SPOKEN),
    error_reply(401, "x" * 290 + CANARY),
    error_reply(400, SPOKEN),
    error_reply(429, SPOKEN, code=CANARY),
    error_reply(500, SPOKEN),
    Reply((f"<html>{SPOKEN}</html>".encode(),), 502, {"Content-Type": "text/html"}),
    Reply((f"<html>{SPOKEN}</html>".encode(),), 200, {"Content-Type": "text/html"}),
    Reply((event({"error": {"message": SPOKEN}}), DONE)),
    Reply((event(f"[{CANARY}".encode()), DONE)),
    Reply((chunk(finish_reason="error"), DONE)),
    Reply((chunk({"content": "x"}), Reset())),
    Reply((chunk({"content": "x"}),)),
    Reply(before=(Reset(),)),
    Reply((Hang(),)),
]


@pytest.mark.parametrize("in_url", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_shows_the_key(fault: Reply, in_url, logged):
    async with FaultyServer([replace(fault)]) as server:
        url, key = (server.base_url.replace("//", f"//user:{CANARY}@"), None) if in_url else (server.base_url, CANARY)
        llm = OpenAIChatLLM(model="m", base_url=url, api_key=key, idle_timeout=0.2)
        with pytest.raises(LLMError) as caught:
            await llm.complete(ASK)
        assert server.requests, "the key was on the wire"
    shown = [*everything_of(caught.value), repr(llm), str(llm.base_url), repr(llm._pool._endpoint)]
    assert not [text for text in shown if CANARY in text]
    assert CANARY not in logged.getvalue()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("key", [f"{CANARY}\nmore", f"{CANARY}\x00", f"{CANARY}é"])
def test_a_key_that_no_header_can_carry_is_refused_before_a_library_prints_it(key):
    with pytest.raises(ConfigError) as caught:
        OpenAIChatLLM(model="m", api_key=key)
    assert not [text for text in everything_of(caught.value) if CANARY in text]


async def test_credentials_in_the_url_are_sent_as_a_header(logged):
    async with FaultyServer([text_reply("x")]) as server:
        url = server.base_url.replace("//", f"//user:{CANARY}@")
        assert (await OpenAIChatLLM(model="m", base_url=url).complete(ASK)).text == "x"
        token = base64.b64encode(f"user:{CANARY}".encode()).decode()
        assert server.requests[0].headers["authorization"] == f"Basic {token}"
    assert CANARY not in logged.getvalue()


def test_the_environments_key_is_sent_and_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)

    async def run() -> None:
        async with FaultyServer([error_reply(401, SPOKEN)]) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            with pytest.raises(LLMError) as caught:
                await OpenAIChatLLM(model="m").complete(ASK)
            assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
            assert not [text for text in everything_of(caught.value) if CANARY in text]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://me:pw@host/v1?key=abc#x", "see https://***@host/v1?key=***#x"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("key sk-proj-abcdef***xyz is wrong", "key sk-*** is wrong"),
        ('{"api_key": "abcdefgh", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("max_tokens: 100000 is too many", "max_tokens: 100000 is too many"),
        ("the context window of 8192 tokens", "the context window of 8192 tokens"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text, expected):
    assert redact(text) == expected
