"""Every way in which a call goes wrong ends in its own typed error, and never in half a reply."""

import asyncio
import socket
import sys
from dataclasses import replace

import openai
import pytest
from responses_script import called, ending, opening, replying, spoken, steps_of, thought

from power_loop.facts.errors import (
    LLMAuthError,
    LLMBadRequest,
    LLMConnectionError,
    LLMContextTooLong,
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRateLimited,
    LLMRefused,
    LLMStalled,
    LLMTruncated,
    LLMUnavailable,
    MissingExtraError,
)
from power_loop.facts.messages import to_message
from power_loop.llms import sse, wire
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.ports.llm import LLMRequest, LLMResponse
from power_loop.testing.faulty_server import DONE, Close, FaultyServer, Hang, Reply, Reset, error_reply, event

ASK = LLMRequest([to_message("hi")])
SHORT = 0.05
BEGUN = (opening(), *spoken("x").events(0)[:2])
WHOLE = (thought("hé"), spoken("yes"), called("c1", "look", '{"a": 1}'))


async def play(*script: Reply, **settings) -> LLMResponse:
    async with FaultyServer(script) as server:
        return await OpenAIResponsesLLM(model="scripted", base_url=server.base_url, **settings).complete(ASK)


async def failure(*script: Reply, **settings) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await play(*script, **settings)
    return caught.value


LEAN = (
    event({"type": "response.output_text.delta", "output_index": 0, "delta": "h\u00e9"}),
    event({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": "h\u00e9"}}),
    event(
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        }
    ),
    event({"type": "response.completed", "response": {"usage": {"input_tokens": 1}}}),
)


@pytest.mark.parametrize("framing", ["close", "chunked"])
async def test_a_reply_cut_at_any_byte_is_an_error_and_a_whole_one_is_not(framing):
    whole = Reply(LEAN, framing=framing)
    length = len(whole.body)
    script = [replace(whole, cut=at) for at in range(length + 1)]
    async with FaultyServer(script) as server:
        llm = OpenAIResponsesLLM(model="scripted", base_url=server.base_url)
        for at in range(length):
            with pytest.raises(LLMTruncated) as caught:
                await llm.complete(ASK)
            assert caught.value.retryable, at
        response = await llm.complete(ASK)
        assert (response.text, response.tool_calls[0].arguments) == ("h\u00e9", "{}")
        await llm.close()


@pytest.mark.parametrize("steps", [(), steps_of(*WHOLE), [*steps_of(*WHOLE), DONE]])
async def test_all_items_without_the_end_of_the_reply_are_no_reply(steps):
    assert isinstance(await failure(Reply((opening(), *steps))), LLMTruncated)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        ("incomplete", "content_filter", LLMRefused),
        ("incomplete", "steered", LLMTruncated),
        ("incomplete", None, LLMTruncated),
        ("cancelled", None, LLMTruncated),
        ("failed", None, LLMUnavailable),
    ],
)
async def test_endings_that_are_failures(status, reason, kind):
    assert type(await failure(replying(spoken("x"), status=status, reason=reason))) is kind


async def test_a_completed_reply_with_an_open_item_is_malformed():
    error = await failure(Reply((*BEGUN, ending(output=[]))))
    assert isinstance(error, LLMMalformed)
    assert "never finished" in error.message


async def test_a_call_without_a_name_is_malformed():
    assert isinstance(await failure(replying(called("c1", "", "{}"))), LLMMalformed)


@pytest.mark.parametrize(
    "data", [b"{", b"nonsense", b"[]", b'{"type":5}', b'{"response":{"output":5}}', b'"\xff"', b"[" * 100_000]
)
async def test_an_event_that_is_none_is_malformed(data):
    assert isinstance(await failure(Reply((*BEGUN, event(data), ending(spoken("x"))))), LLMMalformed)


async def test_a_stream_without_event_ends_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    assert isinstance(await failure(Reply((b"data: ", *[b"x" * 100] * 20, Hang()))), LLMMalformed)


async def test_a_reply_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(wire, "MAX_REPLY_BYTES", 1000)
    assert isinstance(await failure(Reply((*[spoken("x").events(0)[1]] * 20, Hang()))), LLMMalformed)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(before=(Hang(),)), id="before the headers"),
        pytest.param(Reply((Hang(),)), id="before the first event"),
        pytest.param(Reply((*BEGUN, Hang())), id="between events"),
        pytest.param(Reply((b"data: {", Hang())), id="inside an event"),
        pytest.param(Reply((*steps_of(*WHOLE), Hang())), id="before the end"),
    ],
)
async def test_silence_is_a_stall(reply):
    error = await failure(reply, idle_timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "0.05 s" in error.message


async def test_a_reply_may_be_given_a_limit_as_a_whole():
    error = await failure(Reply((*BEGUN, Hang())), timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "no complete reply within 0.05 s" in error.message


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(before=(Reset(),)), id="reset before the headers"),
        pytest.param(Reply((*BEGUN, Reset())), id="reset in the stream"),
        pytest.param(Reply(before=(Close(),)), id="closed before the headers"),
    ],
)
async def test_a_broken_connection_is_a_connection_error(reply):
    assert isinstance(await failure(reply), LLMConnectionError)


async def test_nobody_listening_is_a_connection_error():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        llm = OpenAIResponsesLLM(model="m", base_url=f"http://127.0.0.1:{held.getsockname()[1]}/v1")
        with pytest.raises(LLMConnectionError, match="base_url"):
            await llm.complete(ASK)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error_reply(401), LLMAuthError),
        (error_reply(429), LLMRateLimited),
        (error_reply(429, code="insufficient_quota"), LLMAuthError),
        (error_reply(500), LLMUnavailable),
        (error_reply(503), LLMOverloaded),
        (error_reply(400, "unknown parameter"), LLMBadRequest),
        (error_reply(404, "no such path"), LLMBadRequest),
        (error_reply(400, code="context_length_exceeded"), LLMContextTooLong),
        (error_reply(400, code="content_filter"), LLMRefused),
        (Reply((b"<html>Bad gateway</html>",), 502, {"Content-Type": "text/html"}), LLMUnavailable),
    ],
)
async def test_error_statuses_have_their_errors(reply, kind):
    error = await failure(reply)
    assert type(error) is kind
    assert error.status == reply.status


CODES = [
    ("server_error", LLMUnavailable),
    ("rate_limit_exceeded", LLMRateLimited),
    ("context_length_exceeded", LLMContextTooLong),
    ("insufficient_quota", LLMAuthError),
    ("server_is_overloaded", LLMOverloaded),
    ("invalid_prompt", LLMRefused),
    ("image_content_policy_violation", LLMRefused),
    ("image_parse_error", LLMBadRequest),
    ("invalid_base64_image", LLMBadRequest),
    ("unsupported_image_media_type", LLMBadRequest),
    ("something_new", LLMUnavailable),
]


@pytest.mark.parametrize("form", ["failed", "event", "nested", "bare"])
@pytest.mark.parametrize(("code", "kind"), CODES)
async def test_errors_inside_the_stream_have_their_errors(form, code, kind):
    said = {"code": code, "message": "said the provider"}
    step = {
        "failed": ending(status="failed", error=said),
        "event": event({"type": "error", "sequence_number": 3} | said),
        "nested": event({"type": "error", "error": said}),
        "bare": event({"error": said}),
    }[form]
    error = await failure(Reply((*BEGUN, step)))
    assert type(error) is kind
    assert "said the provider" in error.message


async def test_what_is_no_event_stream_says_so():
    page = Reply((b"<html>Welcome</html>",), 200, {"Content-Type": "text/html"})
    error = await failure(page)
    assert isinstance(error, LLMMalformed)
    assert "base_url" in error.message


async def test_an_error_under_a_good_status_is_an_error():
    body = b'{"error": {"message": "slow down", "code": 429}}'
    assert type(await failure(Reply((body,), 200, {"Content-Type": "application/json"}))) is LLMRateLimited


async def test_retry_after_is_passed_on():
    assert (await failure(error_reply(429, headers={"Retry-After": "7"}))).retry_after == 7.0


@pytest.mark.parametrize("own", [False, True])
async def test_the_sdk_itself_retries_nothing(own):
    async with FaultyServer([error_reply(500), error_reply(429), replying(spoken("late"))]) as server:
        sdk = openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=5) if own else None
        llm = OpenAIResponsesLLM(model="m", base_url=server.base_url, client=sdk)
        for kind in (LLMUnavailable, LLMRateLimited):
            with pytest.raises(kind):
                await llm.complete(ASK)
        assert len(server.requests) == 2
        if sdk is not None:
            await sdk.close()


async def test_a_failed_call_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with FaultyServer([Reply((*BEGUN, Reset())), Reply((Hang(),))]) as server:
        llm = OpenAIResponsesLLM(model="m", base_url=server.base_url, idle_timeout=SHORT)
        for _ in range(2):
            with pytest.raises(LLMError):
                await llm.complete(ASK)
        await llm.close()
    assert asyncio.all_tasks() == before


async def test_without_a_key_openai_is_not_called():
    with pytest.raises(LLMAuthError, match="OPENAI_API_KEY"):
        await OpenAIResponsesLLM(model="gpt-5-mini").complete(ASK)


async def test_without_the_sdk_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'power-loop\[openai\]'"):
        await OpenAIResponsesLLM(model="m", base_url="http://127.0.0.1:1/v1").complete(ASK)
