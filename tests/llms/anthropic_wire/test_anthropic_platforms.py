"""The SDK's clients for other platforms: their paths, their keys, and Bedrock's binary stream."""

import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anthropic
import pytest
from anthropic_scripts import STOP, call, ended, start, text, text_reply

from power_loop.facts.errors import LLMError, LLMMalformed, LLMOverloaded, LLMRateLimited, LLMTruncated
from power_loop.facts.messages import to_message
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.llms.anthropic_frames import CONTENT_TYPE, FrameDecoder
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer, Reply

ASK = LLMRequest([to_message("hi")], system_prompt="Be brief.")
SECRET = "canary-of-a-platform"


def frame(payload: bytes, **headers: str) -> bytes:
    """Return one message of an AWS event stream; headers of other types are mixed in."""
    fields = b"\x04flag\x00" + b"\x05count\x04\x00\x00\x00\x07" + b"\x04blob\x06\x00\x01x"
    for name, value in headers.items():
        key = f":{name.replace('_', '-')}".encode()
        fields += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    head = struct.pack(">II", 16 + len(fields) + len(payload), len(fields))
    body = head + struct.pack(">I", zlib.crc32(head)) + fields + payload
    return body + struct.pack(">I", zlib.crc32(body))


def chunk(event: bytes) -> bytes:
    data = event.split(b"data: ", 1)[1].strip()
    payload = json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abc"}).encode()
    return frame(payload, message_type="event", event_type="chunk", content_type="application/json")


def chunks(*events: bytes) -> Reply:
    parts = [part + b"\n\n" for event in events for part in event.split(b"\n\n") if part]
    return Reply(tuple(chunk(part) for part in parts), headers={"Content-Type": CONTENT_TYPE})


WHOLE = (start(), text(0, "é"), call(1, "c1", "look", '{"a":', "1}"), ended("tool_use"), STOP)


@asynccontextmanager
async def bedrock(server: FaultyServer) -> AsyncIterator[AnthropicLLM]:
    root = server.base_url.removesuffix("/v1")
    own = anthropic.AsyncAnthropicBedrock(aws_region="eu-west-1", api_key=SECRET, base_url=root, max_retries=3)
    yield AnthropicLLM(model="anthropic.claude-haiku-4-5-v1:0", client=own)
    await own.close()


async def test_bedrock_is_spoken_to_in_its_own_way():
    async with FaultyServer([chunks(*WHOLE)]) as server, bedrock(server) as llm:
        response = await llm.complete(ASK)
    assert (response.text, response.tool_calls[0].arguments, response.usage.total_tokens) == ("é", '{"a":1}', 15)
    (request,) = server.requests
    assert request.path == "/model/anthropic.claude-haiku-4-5-v1:0/invoke-with-response-stream"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert "model" not in request.json
    assert "stream" not in request.json
    assert [block["text"] for block in request.json["system"]] == ["Be brief."]
    assert SECRET not in repr(llm) + repr(llm._pool._endpoint)


async def test_a_binary_stream_cut_at_any_byte_is_an_error_and_a_whole_one_is_not():
    whole = chunks(start(), text(0, "é"), ended(), STOP)
    length = len(whole.body)
    cuts = [*range(0, length, 7), length - 1, length]
    async with FaultyServer([replace(whole, cut=at) for at in cuts]) as server, bedrock(server) as llm:
        for _ in cuts[:-1]:
            with pytest.raises(LLMTruncated):
                await llm.complete(ASK)
        assert (await llm.complete(ASK)).text == "é"


@pytest.mark.parametrize(
    ("headers", "payload", "kind"),
    [
        ({"message_type": "exception", "exception_type": "throttlingException"}, b'{"message":"x"}', LLMRateLimited),
        ({"message_type": "exception", "exception_type": "modelStreamErrorException"}, b'{"message":"x"}', LLMError),
        ({"message_type": "error", "error_code": "oops", "error_message": "overloaded"}, b"{}", LLMOverloaded),
        ({"message_type": "event", "event_type": "chunk"}, b'{"no": "bytes"}', LLMMalformed),
        ({"message_type": "event", "event_type": "chunk"}, b'{"bytes": "%%%"}', LLMMalformed),
        ({"message_type": "event", "event_type": "chunk"}, b"nonsense", LLMMalformed),
    ],
)
async def test_faults_in_frames_have_their_errors(headers, payload, kind):
    script = Reply((chunk(start()), frame(payload, **headers)), headers={"Content-Type": CONTENT_TYPE})
    async with FaultyServer([script]) as server, bedrock(server) as llm:
        with pytest.raises(kind):
            await llm.complete(ASK)


def test_frames_are_found_however_they_are_cut():
    body = chunks(*WHOLE).body
    expected = FrameDecoder().feed(body)
    assert b"message_start" in expected[0]
    assert b"message_stop" in expected[-1]
    for size in range(1, 60):
        decoder = FrameDecoder()
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert [event for piece in pieces for event in decoder.feed(piece)] == expected


def test_a_frame_with_any_bit_flipped_is_no_frame():
    body = chunk(start())
    for at in range(len(body)):
        broken = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(ValueError, match="frame"):
            FrameDecoder().feed(broken)


async def test_vertex_is_spoken_to_in_its_own_way():
    async with FaultyServer([text_reply("hello")]) as server:
        own = anthropic.AsyncAnthropicVertex(
            region="europe-west1", project_id="mine", access_token=SECRET, base_url=server.base_url
        )
        llm = AnthropicLLM(model="claude-haiku-4-5", client=own)
        assert (await llm.complete(ASK)).text == "hello"
        await own.close()
    (request,) = server.requests
    path = "projects/mine/locations/europe-west1/publishers/anthropic/models/claude-haiku-4-5:streamRawPredict"
    assert request.path.endswith(path)
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(llm) + repr(llm._pool._endpoint)
