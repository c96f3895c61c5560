"""A key never shows: not in errors, their chains, representations or logs."""

import base64
from dataclasses import replace

import pytest
from canary import CANARY, everything_of
from responses_script import ending, opening, replying, spoken

from power_loop.facts.errors import LLMError
from power_loop.facts.messages import to_message
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer, Hang, Reply, Reset, error_reply, event

ASK = LLMRequest([to_message("hi")])
SPOKEN = f"Incorrect API key provided: {CANARY}. Authorization: Bearer {CANARY}"
FAULTS = [
    error_reply(401, SPOKEN),
    error_reply(429, SPOKEN, code=CANARY),
    Reply((f"<html>{SPOKEN}</html>".encode(),), 200, {"Content-Type": "text/html"}),
    Reply((opening(), event({"type": "error", "message": SPOKEN, "code": CANARY}))),
    Reply((opening(), ending(status="failed", error={"code": "invalid_prompt", "message": SPOKEN}))),
    Reply((opening(), ending(status=CANARY))),
    Reply((ending(status="incomplete", reason=CANARY),)),
    Reply((event(f"[{CANARY}".encode()),)),
    Reply((opening(), Reset())),
    Reply((opening(),)),
    Reply((Hang(),)),
]


@pytest.mark.parametrize("in_url", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_shows_the_key(fault: Reply, in_url, logged):
    async with FaultyServer([replace(fault)]) as server:
        url, key = (server.base_url.replace("//", f"//user:{CANARY}@"), None) if in_url else (server.base_url, CANARY)
        llm = OpenAIResponsesLLM(model="m", base_url=url, api_key=key, idle_timeout=0.2)
        with pytest.raises(LLMError) as caught:
            await llm.complete(ASK)
        assert server.requests, "the key was on the wire"
    shown = [*everything_of(caught.value), repr(llm), str(llm.base_url), repr(llm._pool._endpoint)]
    assert not [text for text in shown if CANARY in text]
    assert CANARY not in logged.getvalue()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_credentials_in_the_url_are_sent_as_a_header(logged):
    async with FaultyServer([replying(spoken("x"))]) as server:
        url = server.base_url.replace("//", f"//user:{CANARY}@")
        assert (await OpenAIResponsesLLM(model="m", base_url=url).complete(ASK)).text == "x"
        token = base64.b64encode(f"user:{CANARY}".encode()).decode()
        assert server.requests[0].headers["authorization"] == f"Basic {token}"
    assert CANARY not in logged.getvalue()
