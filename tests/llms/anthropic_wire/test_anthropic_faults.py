"""Every way in which a call goes wrong ends in its own typed error, and never in half a reply."""

import asyncio
import json
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anthropic
import pytest
from anthropic_scripts import (
    STOP,
    call,
    ended,
    error_reply,
    grown,
    opened,
    reply,
    said,
    start,
    text,
    text_reply,
    thought,
)

from power_loop.facts.errors import (
    InvalidRequestError,
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
)
from power_loop.facts.messages import to_message
from power_loop.llms import sse, wire
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.ports.llm import LLMRequest, LLMResponse
from power_loop.testing.faulty_server import Close, FaultyServer, Hang, Reply, Reset, event

ASK = LLMRequest([to_message("hi")])
SHORT = 0.05


def http_date(seconds: float) -> str:
    return format_datetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), usegmt=True)


async def play(*script: Reply, **settings) -> LLMResponse:
    async with FaultyServer(script) as server:
        llm = AnthropicLLM(model="scripted", base_url=server.base_url, **settings)
        try:
            return await llm.complete(ASK)
        finally:
            await llm.close()


async def failure(*script: Reply, **settings) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await play(*script, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("framing", "blocks", "reason"),
    [
        pytest.param("chunked", thought(0, "é"), "end_turn", id="thought"),
        pytest.param("close", call(0, "c1", "look", "{}"), "tool_use", id="call"),
    ],
)
async def test_a_reply_cut_at_any_byte_is_an_error_and_a_whole_one_is_not(framing, blocks, reason):
    whole = Reply((re.sub(rb"event: .*\n", b"", blocks + ended(reason) + STOP),), framing=framing)
    length = len(whole.body)
    async with FaultyServer([whole, *(replace(whole, cut=at) for at in range(length + 1))]) as server:
        llm = AnthropicLLM(model="scripted", base_url=server.base_url)
        uncut = await llm.complete(ASK)
        assert uncut.content or uncut.tool_calls
        for at in range(length):
            with pytest.raises(LLMTruncated) as caught:
                await llm.complete(ASK)
            assert caught.value.retryable, at
        assert await llm.complete(ASK) == uncut
        await llm.close()


async def test_an_end_marker_without_a_stop_reason_is_no_end():
    assert isinstance(await failure(Reply((start(), text(0, "x"), STOP))), LLMTruncated)


async def test_a_stop_reason_without_the_end_marker_is_no_end():
    assert isinstance(await failure(Reply((start(), text(0, "x"), ended()))), LLMTruncated)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(event(b"{"), id="half an object"),
        pytest.param(event(b'"\xff"'), id="no text"),
        pytest.param(event(b"[" * 100_000), id="deep"),
        pytest.param(event({"type": "content_block_delta", "index": 0, "delta": 5}), id="another shape"),
        pytest.param(grown(7, "text_delta", text="x"), id="a piece of nothing"),
        pytest.param(opened(0, "text", text="again"), id="a block that begins twice"),
        pytest.param(said("content_block_start", index=3), id="a beginning of nothing"),
    ],
)
async def test_events_that_make_no_reply_are_malformed(broken):
    assert isinstance(await failure(reply(text(0, "x"), broken)), LLMMalformed)


async def test_a_stream_without_event_ends_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    assert isinstance(await failure(Reply((b"data: ", *[b"x" * 100] * 20, Hang()))), LLMMalformed)


async def test_a_reply_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(wire, "MAX_REPLY_BYTES", 1000)
    pieces = [grown(0, "text_delta", text="x")] * 20
    assert isinstance(await failure(Reply((start(), opened(0, "text"), *pieces, Hang()))), LLMMalformed)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Reply(before=(Hang(),)), id="before the headers"),
        pytest.param(Reply((Hang(),)), id="before the first event"),
        pytest.param(Reply((start(), text(0, "x"), Hang())), id="between events"),
        pytest.param(Reply((b"data: {", Hang())), id="inside an event"),
        pytest.param(Reply((start(), ended(), Hang())), id="before the end marker"),
    ],
)
async def test_silence_is_a_stall(script):
    error = await failure(script, idle_timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "0.05 s" in error.message


async def test_a_slow_reply_that_never_falls_silent_is_no_stall():
    steps = tuple(bytes([byte]) for byte in text_reply("drip").body)
    assert (await play(Reply(steps), idle_timeout=5.0)).text == "drip"


async def test_a_reply_may_be_given_a_limit_as_a_whole():
    error = await failure(Reply((start(), Hang())), timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "no complete reply within 0.05 s" in error.message


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Reply(before=(Reset(),)), id="reset before the headers"),
        pytest.param(Reply((start(), Reset())), id="reset in the stream"),
        pytest.param(Reply(before=(Close(),)), id="closed before the headers"),
    ],
)
async def test_a_broken_connection_is_a_connection_error(script):
    assert isinstance(await failure(script), LLMConnectionError)


async def test_nobody_listening_is_a_connection_error():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        llm = AnthropicLLM(model="m", base_url=f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(LLMConnectionError, match="base_url"):
            await llm.complete(ASK)


async def test_a_url_of_another_kind_is_a_bad_request():
    with pytest.raises(LLMBadRequest):
        await AnthropicLLM(model="m", base_url="ftp://127.0.0.1").complete(ASK)


ERRORS = [
    (401, "authentication_error", "invalid x-api-key", LLMAuthError),
    (402, "billing_error", "pay", LLMAuthError),
    (403, "permission_error", "no", LLMAuthError),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", LLMAuthError),
    (429, "rate_limit_error", "slow down", LLMRateLimited),
    (500, "api_error", "boom", LLMUnavailable),
    (504, "timeout_error", "late", LLMUnavailable),
    (529, "overloaded_error", "Overloaded", LLMOverloaded),
    (503, "api_error", "", LLMOverloaded),
    (404, "not_found_error", "model: nope", LLMBadRequest),
    (400, "invalid_request_error", "max_tokens: Field required", LLMBadRequest),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", LLMContextTooLong),
    (
        400,
        "invalid_request_error",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        LLMContextTooLong,
    ),
    (413, "request_too_large", "Request exceeds the maximum size", LLMContextTooLong),
    (400, "invalid_request_error", "Output blocked by content filtering policy", LLMRefused),
]


@pytest.mark.parametrize(("status", "kind", "message", "expected"), ERRORS)
async def test_error_statuses_have_their_errors(status, kind, message, expected):
    error = await failure(error_reply(status, kind, message))
    assert type(error) is expected
    assert (error.status, error.details["request_id"]) == (status, "req_1")


@pytest.mark.parametrize(("kind", "message", "expected"), [case[1:] for case in ERRORS if case[0] != 503])
async def test_errors_inside_the_stream_have_their_errors(kind, message, expected):
    error = said("error", error={"type": kind, "message": message})
    assert type(await failure(Reply((start(), text(0, "x"), error)))) is expected


async def test_a_spend_limit_is_no_rate_limit():
    error = {"type": "rate_limit_error", "message": "no", "details": {"error_code": "enforced_spend_limit_reached"}}
    body = json.dumps({"type": "error", "error": error}).encode()
    assert type(await failure(Reply((body,), 429, {"Content-Type": "application/json"}))) is LLMAuthError


async def test_a_refusal_is_an_error_that_says_why():
    details = {"type": "refusal", "category": "bio", "explanation": "This is not for everyone."}
    error = await failure(Reply((start(), text(0, "I"), ended("refusal", stop_details=details), STOP)))
    assert type(error) is LLMRefused
    assert "not for everyone" in error.message


async def test_a_turn_that_the_provider_wants_to_go_on_with_is_no_reply():
    assert type(await failure(reply(text(0, "x"), reason="pause_turn"))) is LLMBadRequest


async def test_what_is_no_event_stream_says_so():
    error = await failure(Reply((b"<html>Welcome</html>",), 200, {"Content-Type": "text/html"}))
    assert isinstance(error, LLMMalformed)
    assert "base_url" in error.message


async def test_an_error_under_a_good_status_is_an_error():
    body = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    assert type(await failure(Reply((body,), 200, {"Content-Type": "application/json"}))) is LLMOverloaded


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Date": http_date(0), "Retry-After": http_date(30)}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_read_in_both_forms(headers, seconds):
    assert (await failure(error_reply(429, "rate_limit_error", headers=headers))).retry_after == seconds
    assert (await failure(error_reply(529, "overloaded_error", headers=headers))).retry_after == seconds


@pytest.mark.parametrize("own", [False, True])
async def test_the_sdk_itself_retries_nothing(own):
    async with FaultyServer([error_reply(500), error_reply(429), text_reply("late")]) as server:
        sdk = anthropic.AsyncAnthropic(base_url=server.base_url, api_key="k", max_retries=5) if own else None
        llm = AnthropicLLM(model="m", base_url=server.base_url, client=sdk)
        for kind in (LLMUnavailable, LLMRateLimited):
            with pytest.raises(kind):
                await llm.complete(ASK)
        assert len(server.requests) == 2
        await llm.close()
        if sdk is not None:
            await sdk.close()


async def test_a_failed_call_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with FaultyServer([Reply((start(), Reset())), Reply((Hang(),))]) as server:
        llm = AnthropicLLM(model="m", base_url=server.base_url, idle_timeout=SHORT)
        for _ in range(2):
            with pytest.raises(LLMError):
                await llm.complete(ASK)
        await llm.close()
    assert asyncio.all_tasks() == before


async def test_text_that_json_cannot_carry_is_refused_before_it_is_sent():
    async with FaultyServer() as server:
        with pytest.raises(InvalidRequestError):
            await AnthropicLLM(model="m", base_url=server.base_url).complete(LLMRequest([to_message("\ud800")]))
        assert server.requests == []
