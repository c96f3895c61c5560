"""Every way in which a call goes wrong ends in its own typed error, and never in half a reply."""

import asyncio
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import openai
import pytest

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
from power_loop.llms.explain import retry_after
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMRequest, LLMResponse
from power_loop.testing.faulty_server import (
    DONE,
    Close,
    FaultyServer,
    Hang,
    Reply,
    Reset,
    chunk,
    error_reply,
    event,
    text_reply,
    tool_reply,
)

ASK = LLMRequest([to_message("hi")])
SHORT = 0.05


def http_date(seconds: float, base: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> str:
    return format_datetime(base + timedelta(seconds=seconds), usegmt=True)


async def play(*script: Reply, **settings) -> LLMResponse:
    async with FaultyServer(script) as server:
        return await OpenAIChatLLM(model="scripted", base_url=server.base_url, **settings).complete(ASK)


async def failure(*script: Reply, **settings) -> LLMError:
    with pytest.raises(LLMError) as caught:
        await play(*script, **settings)
    return caught.value


@pytest.mark.parametrize("framing", ["close", "chunked"])
@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(text_reply("Hé", "lo"), id="text"),
        pytest.param(tool_reply(("c1", "look", '{"a": 1}')), id="tool"),
    ],
)
async def test_a_reply_cut_at_any_byte_is_an_error_and_a_whole_one_is_not(whole, framing):
    length = len(whole.body)
    script = [replace(whole, framing=framing, cut=at) for at in range(length + 1)]
    async with FaultyServer(script) as server:
        llm = OpenAIChatLLM(model="scripted", base_url=server.base_url)
        for at in range(length):
            with pytest.raises(LLMTruncated) as caught:
                await llm.complete(ASK)
            assert caught.value.retryable, at
        response = await llm.complete(ASK)
        assert response.text == "Hélo" or response.tool_calls[0].arguments == '{"a": 1}'
        await llm.close()


async def test_an_end_marker_without_a_finish_reason_is_no_end():
    assert isinstance(await failure(Reply((chunk({"content": "x"}), DONE))), LLMTruncated)


async def test_a_finish_reason_without_the_end_marker_is_no_end():
    reply = Reply((chunk({"content": "x"}), chunk(finish_reason="stop")))
    assert isinstance(await failure(reply), LLMTruncated)


@pytest.mark.parametrize(
    "data",
    [b"{", b"nonsense", b'{"choices": 5}', b'{"choices":[{"delta":{"tool_calls":[3]}}]}', b'"\xff"', b"[" * 100_000],
)
async def test_a_chunk_that_is_none_is_malformed(data):
    assert isinstance(await failure(Reply((chunk({"content": "x"}), event(data), DONE))), LLMMalformed)


async def test_a_stream_without_event_ends_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    assert isinstance(await failure(Reply((b"data: ", *[b"x" * 100] * 20, Hang()))), LLMMalformed)


async def test_a_reply_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(wire, "MAX_REPLY_BYTES", 1000)
    assert isinstance(await failure(Reply((*[chunk({"content": "x"})] * 20, Hang()))), LLMMalformed)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(before=(Hang(),)), id="before the headers"),
        pytest.param(Reply((Hang(),)), id="before the first chunk"),
        pytest.param(Reply((chunk({"content": "x"}), Hang())), id="between chunks"),
        pytest.param(Reply((b"data: {", Hang())), id="inside a chunk"),
        pytest.param(Reply((chunk(finish_reason="stop"), Hang())), id="before the end marker"),
    ],
)
async def test_silence_is_a_stall(reply):
    error = await failure(reply, idle_timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "0.05 s" in error.message


async def test_a_slow_reply_that_never_falls_silent_is_no_stall():
    steps = tuple(bytes([byte]) for byte in text_reply("drip").body)
    assert (await play(Reply(steps), idle_timeout=5.0)).text == "drip"


async def test_a_reply_may_be_given_a_limit_as_a_whole():
    error = await failure(Reply((chunk({"content": "x"}), Hang())), timeout=SHORT)
    assert isinstance(error, LLMStalled)
    assert "no complete reply within 0.05 s" in error.message


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(before=(Reset(),)), id="before the headers"),
        pytest.param(Reply((chunk({"content": "x"}), Reset())), id="in the stream"),
    ],
)
async def test_a_reset_connection_is_a_connection_error(reply):
    assert isinstance(await failure(reply), LLMConnectionError)


async def test_a_connection_closed_before_the_headers_is_a_connection_error():
    assert isinstance(await failure(Reply(before=(Close(),))), LLMConnectionError)


async def test_nobody_listening_is_a_connection_error():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        llm = OpenAIChatLLM(model="m", base_url=f"http://127.0.0.1:{held.getsockname()[1]}/v1")
        with pytest.raises(LLMConnectionError, match="base_url"):
            await llm.complete(ASK)


async def test_a_name_that_does_not_resolve_is_a_connection_error():
    with pytest.raises(LLMConnectionError):
        await OpenAIChatLLM(model="m", base_url="http://nowhere.invalid/v1").complete(ASK)


async def test_a_url_of_another_kind_is_a_bad_request():
    with pytest.raises(LLMBadRequest):
        await OpenAIChatLLM(model="m", base_url="ftp://127.0.0.1/v1").complete(ASK)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error_reply(401), LLMAuthError),
        (error_reply(402), LLMAuthError),
        (error_reply(403), LLMAuthError),
        (error_reply(429), LLMRateLimited),
        (error_reply(429, code="insufficient_quota"), LLMAuthError),
        (error_reply(500), LLMUnavailable),
        (error_reply(500, "The engine is currently overloaded"), LLMOverloaded),
        (error_reply(502), LLMUnavailable),
        (error_reply(503), LLMOverloaded),
        (error_reply(504), LLMUnavailable),
        (error_reply(529), LLMOverloaded),
        (error_reply(408), LLMUnavailable),
        (error_reply(409), LLMUnavailable),
        (error_reply(400, "unknown parameter"), LLMBadRequest),
        (error_reply(404, "no such model"), LLMBadRequest),
        (error_reply(422), LLMBadRequest),
        (error_reply(413), LLMContextTooLong),
        (error_reply(400, code="context_length_exceeded"), LLMContextTooLong),
        (error_reply(400, "This model's maximum context length is 8192 tokens."), LLMContextTooLong),
        (error_reply(400, "prompt is too long: 210000 tokens > 200000 maximum"), LLMContextTooLong),
        (error_reply(400, kind="exceed_context_size_error"), LLMContextTooLong),
        (error_reply(400, "The input token count (9) exceeds the maximum"), LLMContextTooLong),
        (error_reply(400, "Range of input length should be [1, 6000]"), LLMContextTooLong),
        (error_reply(400, code="content_filter"), LLMRefused),
        (Reply((b"<html>Bad gateway</html>",), 502, {"Content-Type": "text/html"}), LLMUnavailable),
        (Reply((b"",), 503, {}), LLMOverloaded),
    ],
)
async def test_error_statuses_have_their_errors(reply, kind):
    error = await failure(reply)
    assert type(error) is kind
    assert error.status == reply.status


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "boom", "code": 502}, LLMUnavailable),
        ({"message": "slow down", "code": 429}, LLMRateLimited),
        ({"message": "slow down", "type": "rate_limit_error"}, LLMRateLimited),
        ({"message": "Overloaded", "type": "overloaded_error"}, LLMOverloaded),
        ({"message": "no", "code": "insufficient_quota"}, LLMAuthError),
        ({"message": "bad", "type": "invalid_request_error"}, LLMBadRequest),
        ({"message": "maximum context length is 5", "type": "invalid_request_error"}, LLMContextTooLong),
        ({"message": "no", "code": "content_filter"}, LLMRefused),
        ({"message": "who knows"}, LLMUnavailable),
        ("plain words", LLMUnavailable),
    ],
)
async def test_errors_inside_the_stream_have_their_errors(error, kind):
    steps = (chunk({"content": "x"}), event({"error": error}), DONE)
    assert type(await failure(Reply(steps))) is kind


async def test_an_error_object_without_a_wrapper_is_an_error():
    said = event({"object": "error", "message": "no room", "code": 503})
    assert type(await failure(Reply((said, DONE)))) is LLMOverloaded


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("content_filter", LLMRefused),
        ("error", LLMUnavailable),
        ("insufficient_system_resource", LLMOverloaded),
    ],
)
async def test_finish_reasons_that_are_failures(reason, kind):
    assert type(await failure(Reply((chunk({"content": "x"}), chunk(finish_reason=reason), DONE)))) is kind


async def test_what_is_no_event_stream_says_so():
    page = Reply((b"<html>Welcome</html>",), 200, {"Content-Type": "text/html"})
    error = await failure(page)
    assert isinstance(error, LLMMalformed)
    assert "base_url" in error.message


async def test_an_error_under_a_good_status_is_an_error():
    body = b'{"error": {"message": "slow down", "code": 429}}'
    assert type(await failure(Reply((body,), 200, {"Content-Type": "application/json"}))) is LLMRateLimited


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Date": http_date(0), "Retry-After": http_date(30)}, 30.0),
        ({"Date": http_date(0), "Retry-After": http_date(-30)}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_read_in_every_form(headers, seconds):
    error = await failure(error_reply(429, headers=headers))
    assert error.retry_after == seconds


def test_a_retry_date_without_the_servers_clock_uses_ours():
    seconds = retry_after({"retry-after": http_date(3600, datetime.now(UTC))})
    assert seconds is not None
    assert 3000 < seconds <= 3600


@pytest.mark.parametrize("own", [False, True])
async def test_the_sdk_itself_retries_nothing(own):
    async with FaultyServer([error_reply(500), error_reply(429), text_reply("late")]) as server:
        sdk = openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=5) if own else None
        llm = OpenAIChatLLM(model="m", base_url=server.base_url, client=sdk)
        for kind in (LLMUnavailable, LLMRateLimited):
            with pytest.raises(kind):
                await llm.complete(ASK)
        assert len(server.requests) == 2
        if sdk is not None:
            await sdk.close()


async def test_a_failed_call_leaves_no_task_behind():
    before = asyncio.all_tasks()
    async with FaultyServer([Reply((chunk({"content": "x"}), Reset())), Reply((Hang(),))]) as server:
        llm = OpenAIChatLLM(model="m", base_url=server.base_url, idle_timeout=SHORT)
        for _ in range(2):
            with pytest.raises(LLMError):
                await llm.complete(ASK)
        await llm.close()
    assert asyncio.all_tasks() == before


async def test_text_that_json_cannot_carry_is_refused_before_it_is_sent():
    async with FaultyServer() as server:
        with pytest.raises(InvalidRequestError):
            await OpenAIChatLLM(model="m", base_url=server.base_url).complete(LLMRequest([to_message("\ud800")]))
        assert server.requests == []
