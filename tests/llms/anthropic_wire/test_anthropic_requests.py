"""What a request becomes on the wire, and what of it stays the same from one request to the next."""

import json
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import (
    AgentMessage,
    CallSlot,
    Document,
    Image,
    MessageRole,
    Reasoning,
    Text,
    ToolCall,
    to_message,
)
from power_loop.llms.anthropic import AnthropicLLM, from_config
from power_loop.llms.provider import LLMProviderConfig
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

LOOK = ToolDefinition("look", "Looks.", {"type": "object", "properties": {"b": {}, "a": {}}})
MARKER = {"type": "ephemeral"}
USER, ASSISTANT = MessageRole.USER, MessageRole.ASSISTANT


def make(model: str = "claude-sonnet-4-5", **settings) -> AnthropicLLM:
    return AnthropicLLM(model=model, api_key="key-123456", **settings)


async def body_of(request: LLMRequest, llm: AnthropicLLM | None = None, **settings) -> dict[str, Any]:
    encoder = (llm or make(**settings))._encoder
    return json.loads(encoder.encode(request, await encoder.media(request)))


async def messages_of(*messages: AgentMessage, **fields) -> list[dict[str, Any]]:
    return (await body_of(LLMRequest(messages, **fields), cache=None))["messages"]


def result(call_id: str, content: Any = "ok") -> AgentMessage:
    return AgentMessage(MessageRole.TOOL, content, tool_call_id=call_id)


async def test_the_request_carries_everything():
    called = AgentMessage(ASSISTANT, "", (ToolCall("c1", "look", {"a": 1}),))
    request = LLMRequest(
        [to_message("hi"), called, result("c1", "found"), to_message("so?")],
        system_prompt="Be brief.",
        tools=[LOOK],
        tool_choice="none",
        model="other",
        max_tokens=5,
        temperature=0.5,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        extra={"top_k": 1, "messages": "not this way", "output_config": {"effort": "low"}},
    )
    assert await body_of(request, extra={"top_k": 0, "metadata": {"user_id": "u"}}) == {
        "model": "other",
        "tools": [{"name": "look", "description": "Looks.", "input_schema": LOOK.input_schema}],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": MARKER}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": MARKER}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "found"}]},
                    {"type": "text", "text": "so?", "cache_control": MARKER},
                ],
            },
        ],
        "tool_choice": {"type": "none"},
        "stream": True,
        "max_tokens": 5,
        "temperature": 0.5,
        "top_k": 1,
        "metadata": {"user_id": "u"},
        "output_config": {
            "effort": "low",
            "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}},
        },
    }


async def test_what_is_not_asked_for_is_not_sent():
    body = await body_of(LLMRequest([to_message("hi")]))
    assert body.keys() == {"model", "messages", "stream", "max_tokens"}
    assert body["max_tokens"] == 8192


@pytest.mark.parametrize(("choice", "wire"), [("auto", "auto"), ("none", "none"), ("required", "any")])
async def test_tool_choices_have_their_names(choice, wire):
    body = await body_of(LLMRequest([to_message("hi")], tools=[LOOK], tool_choice=choice))
    assert body["tool_choice"] == {"type": wire}


# -- blocks


async def test_a_reply_goes_back_in_its_own_order_with_its_own_thoughts():
    content = (
        Reasoning("hm", "sig", "anthropic"),
        Reasoning("", None, "anthropic", "secret"),
        Reasoning("foreign", "sig", "openai_responses"),
        Reasoning("unsigned", None, "anthropic"),
        Text("a"),
        CallSlot(0),
        Text("\n\n"),
        Reasoning("", "sig2", "anthropic"),
        Text("b"),
    )
    calls = (ToolCall("c1", "look"), ToolCall("c2", "look"))
    messages = await messages_of(to_message("hi"), AgentMessage(ASSISTANT, content, calls), result("c1"), result("c2"))
    assert messages[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
        {"type": "thinking", "thinking": "", "signature": "sig2"},
        {"type": "text", "text": "b"},
        {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
    ]


async def test_neighbours_of_one_role_become_one_message():
    called = AgentMessage(ASSISTANT, "", (ToolCall("c1", "look"), ToolCall("c2", "look")))
    note = AgentMessage(MessageRole.SYSTEM, "Mind the time.")
    messages = await messages_of(to_message("hi"), called, result("c1"), result("c2"), to_message("go on"), note)
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result", "text", "text"]
    assert messages[2]["content"][3]["text"] == "<system>\nMind the time.\n</system>"


async def test_nothing_blank_is_sent():
    messages = await messages_of(
        AgentMessage(ASSISTANT, "hello"),
        to_message(" "),
        AgentMessage(ASSISTANT, (Reasoning("foreign"), Text(""))),
        to_message("hi"),
        AgentMessage(ASSISTANT, "", (ToolCall("c1", "look"),)),
        result("c1", ""),
    )
    empty = {"type": "text", "text": "(empty)"}
    assert messages == [
        {"role": "user", "content": [empty]},
        {"role": "assistant", "content": [{"type": "text", "text": "hello"}]},
        {"role": "user", "content": [empty, {"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}]},
    ]
    assert await messages_of(AgentMessage(ASSISTANT, "")) == [{"role": "user", "content": [empty]}]


class Blobs:
    def __init__(self, *contents: bytes) -> None:
        self.known = {f"sha256:{sha256(content).hexdigest()}": content for content in contents}
        self.names = list(self.known)
        self.reads = 0

    async def __call__(self, blob: str, /) -> bytes:
        self.reads += 1
        return self.known[blob]


async def test_images_and_documents_go_to_users_and_results():
    blobs = Blobs(b"png", b"pdf", b"plain", b"tiff")
    picture, paper, plain, odd = blobs.names
    content = (
        Text("see"),
        Image(picture, "image/png"),
        Document(paper, "application/pdf", "a.pdf"),
        Document(plain, "text/plain", "b.txt"),
        Image(odd, "image/tiff"),
    )
    llm = make(cache=None)
    called = AgentMessage(ASSISTANT, "", (ToolCall("c1", "look"),))
    messages = [AgentMessage(USER, content), called, result("c1", (Text("found"), Image(picture, "image/png")))]
    for _ in range(2):
        sent = (await body_of(LLMRequest(messages, blobs=blobs), llm))["messages"]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}}
    source = {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}
    first = sent[0]["content"]
    assert first[:3] == [
        {"type": "text", "text": "see"},
        image,
        {"type": "document", "source": source, "title": "a.pdf"},
    ]
    assert "b.txt" in first[3]["text"]
    assert first[3]["text"].endswith("plain")
    assert "image/tiff" in first[4]["text"]
    assert sent[2]["content"][0]["content"] == [{"type": "text", "text": "found"}, image]
    assert blobs.reads == 4


async def test_without_a_reader_pictures_are_refused():
    with pytest.raises(InvalidRequestError, match="blobs"):
        await body_of(LLMRequest([AgentMessage(USER, (Image("sha256:" + "0" * 64, "image/png"),))]))


# -- the prefix


def growing() -> list[AgentMessage]:
    """A conversation with everything that a prefix could stumble over."""
    messages = [to_message("hi")]
    for turn in range(12):
        calls = tuple(ToolCall(f"c{turn}_{at}", "look", {"b": 1, "a": at}) for at in range(turn % 4))
        slots = (CallSlot(0),) if calls else ()
        thoughts = (Reasoning("é", f"sig{turn}", "anthropic"),) if turn % 2 else (Reasoning("foreign"),)
        messages += [AgentMessage(ASSISTANT, (*thoughts, *slots, Text("said")), calls)]
        messages += [result(call.id, "" if turn == 5 else "ok") for call in calls]
        messages += [AgentMessage(MessageRole.SYSTEM, "note")] if turn % 3 == 0 else []
        messages += [to_message(f"go on {turn}")] if turn % 5 else []
    return messages


def unmarked(value: Any, marker: bytes) -> Any:
    return value.replace(b',"cache_control":' + marker, b"")


async def test_each_request_begins_with_the_bytes_of_the_one_before():
    everything = growing()
    llm = make(thinking={"type": "adaptive"})
    bodies = []
    for end in range(1, len(everything) + 1):
        choice = "none" if end % 2 else "auto"
        request = LLMRequest(everything[:end], system_prompt="s", tools=[LOOK], tool_choice=choice)
        bodies.append(unmarked(llm._encoder.encode(request), b'{"type":"ephemeral"}'))
    for earlier, later in pairwise(bodies):
        assert b"cache_control" not in later
        kept = earlier[: earlier.index(b'],"tool_choice"')]
        assert kept.endswith(b"]}")
        assert later.startswith(kept[:-2])


def marked_positions(body: dict[str, Any]) -> tuple[list[int], int]:
    blocks = [block for message in body["messages"] for block in message["content"]]
    assert all("cache_control" not in block for block in blocks if "thinking" in block["type"])
    return [at for at, block in enumerate(blocks) if "cache_control" in block], len(blocks)


@pytest.mark.parametrize("parallel", [1, 3, 12, 40])
async def test_the_previous_prefix_is_always_within_reach_of_a_marker(parallel):
    """Every request finds the last marker of the one before, at one of its own or at most 20 blocks before one."""
    messages = [to_message("hi")]
    llm = make()
    before: int | None = None
    for turn in range(8):
        request = LLMRequest(list(messages), system_prompt="s", tools=[LOOK])
        body = await body_of(request, llm)
        marks, count = marked_positions(body)
        heads = [block for block in body["system"] + body["tools"] if "cache_control" in block]
        assert len(heads) == 1
        assert len(marks) <= 3
        assert marks[-1] == count - 1
        if parallel < 15:
            assert all(later - earlier <= 15 for earlier, later in pairwise(marks))
            assert marks[0] == 0 or len(marks) == 3
        assert before is None or any(before <= mark < before + 20 for mark in marks)
        before = marks[-1]
        calls = tuple(ToolCall(f"c{turn}_{at}", "look") for at in range(parallel))
        said = AgentMessage(ASSISTANT, (Reasoning("hm", "sig", "anthropic"), Text("so")), calls)
        messages += [said, *(result(call.id) for call in calls)]


async def test_the_marker_is_where_the_host_wants_it():
    request = LLMRequest([to_message("hi")], tools=[LOOK, LOOK])
    body = await body_of(request, cache="1h")
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, MARKER | {"ttl": "1h"}]
    assert b"cache_control" not in make(cache=None)._encoder.encode(request)


async def test_no_message_is_converted_twice():
    llm = make()
    kept = growing()
    first = llm._encoder.encode(LLMRequest(kept))
    cache = llm._encoder._messages
    assert len(cache) == len(kept)
    known = {id(message): cache.encode(message) for message in kept}
    assert llm._encoder.encode(LLMRequest(kept)) == first
    assert all(cache.encode(message) is known[id(message)] for message in kept)
    del kept, known
    assert len(cache) == 0


# -- settings that depend on each other


THINKING = {"type": "enabled", "budget_tokens": 2000}
BEGUN = AgentMessage(ASSISTANT, "", (ToolCall("c1", "look"),))
THOUGHT = AgentMessage(ASSISTANT, (Reasoning("hm", "sig", "anthropic"),), (ToolCall("c1", "look"),))


@pytest.mark.parametrize(
    ("messages", "fields", "thinking", "sent"),
    [
        ([], {}, THINKING, True),
        ([], {"max_tokens": 2000}, THINKING, False),
        ([], {"max_tokens": 2000}, {"type": "adaptive"}, True),
        ([], {"tool_choice": "required"}, THINKING, False),
        ([], {"tool_choice": "required"}, {"type": "adaptive"}, False),
        ([], {"tool_choice": "required"}, {"type": "disabled"}, True),
        ([BEGUN, result("c1")], {}, THINKING, False),
        ([BEGUN, result("c1")], {}, {"type": "adaptive"}, True),
        ([THOUGHT, result("c1")], {}, THINKING, True),
        ([AgentMessage(ASSISTANT, "done"), to_message("more")], {}, THINKING, True),
    ],
)
async def test_thinking_is_left_out_where_the_api_would_refuse_it(messages, fields, thinking, sent):
    request = LLMRequest([to_message("hi"), *messages], tools=[LOOK], **fields)
    body = await body_of(request, thinking=thinking, temperature=0.0)
    assert body.get("thinking") == (thinking if sent else None)
    thinks = sent and thinking["type"] != "disabled"
    assert ("temperature" in body) is not thinks


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-3-5-haiku-20241022", True),
        ("claude-opus-4-20250514", True),
        ("claude-sonnet-4@20250514", True),
        ("claude-haiku-4-5-20251001", True),
        ("anthropic.claude-opus-4-6-v1:0", True),
        ("claude-opus-4-7", False),
        ("claude-opus-4-8-20260528", False),
        ("us.anthropic.claude-sonnet-5", False),
        ("a-model-of-somebody-else", True),
    ],
)
async def test_a_default_temperature_is_not_sent_to_models_that_refuse_it(model, sent):
    request = LLMRequest([to_message("hi")])
    assert ("temperature" in await body_of(request, model=model, temperature=0.0)) is sent
    asked = LLMRequest([to_message("hi")], temperature=0.2)
    assert (await body_of(asked, model=model))["temperature"] == 0.2


async def test_a_schema_is_put_into_the_dialect_of_the_api():
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "Count."},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "format": "regex", "enum": ["a"]},
            "all": {"type": "array", "minItems": 2, "items": {"type": ["object", "null"], "properties": {}}},
            "either": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/D"}]},
        },
        "required": ["n"],
        "$defs": {"D": {"properties": {}}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    request = LLMRequest([to_message("hi")], response_format=asked)
    assert (await body_of(request))["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "description": "Count. (minimum: 1)"},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "enum": ["a"], "description": '(format: "regex")'},
            "all": {
                "type": "array",
                "items": {"type": ["object", "null"], "properties": {}, "additionalProperties": False},
                "description": "(minItems: 2)",
            },
            "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/D"}]},
        },
        "required": ["n"],
        "$defs": {"D": {"properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
    }


async def test_json_without_a_schema_is_refused_before_it_is_sent():
    with pytest.raises(InvalidRequestError, match="json_schema"):
        await body_of(LLMRequest([to_message("hi")], response_format={"type": "json_object"}))
    assert "output_config" not in await body_of(LLMRequest([to_message("hi")], response_format={"type": "text"}))


async def test_settings_become_a_service():
    cfg = LLMProviderConfig("claude-haiku-4-5", base_url="http://127.0.0.1:1/v1", temperature=0.0, max_tokens=None)
    llm = from_config(cfg)
    assert (llm.base_url, llm.idle_timeout, llm.max_retries) == ("http://127.0.0.1:1", 180.0, 3)
    body = await body_of(LLMRequest([to_message("hi")]), llm)
    assert (body["max_tokens"], body["temperature"]) == (8192, 0.0)


def test_the_environment_says_where_to_send_requests(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1/proxy/")
    assert AnthropicLLM(model="m").base_url == "http://127.0.0.1:1/proxy"
    monkeypatch.delenv("ANTHROPIC_BASE_URL")
    assert AnthropicLLM(model="m").base_url == "https://api.anthropic.com"
