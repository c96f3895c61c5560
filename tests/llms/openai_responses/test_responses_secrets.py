"""A key never shows: not in errors, their chains, representations or logs."""

import base64
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO

import pytest
from responses_script import ending, opening, replying, spoken

from power_loop.facts.errors import LLMError
from power_loop.facts.messages import to_message
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer, Hang, Reply, Reset, error_reply, event

CANARY = "canary-7f3a9b-canary"
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


def everything_of(error: BaseException) -> Iterator[str]:
    """Yield all that a log or an error tracker could show, also of suppressed links."""
    seen: set[int] = set()
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        links += [link.__cause__, link.__context__]
        yield from (str(link), repr(link), repr(link.args), repr(vars(link)), *getattr(link, "__notes__", ()))
    yield "".join(traceback.format_exception(error))


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """All logs of all libraries, at their most talkative."""
    text = StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


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
