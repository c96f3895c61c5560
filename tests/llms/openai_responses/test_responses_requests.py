"""What is sent: the whole conversation, each item in the shape of this wire, and always the same bytes."""

import base64
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from responses_script import PDF, PNG, Blobs, address, called, replying, said, spoken, thought

from power_loop import StatefulAgentLoop, tool
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
from power_loop.llms.openai_responses import OpenAIResponsesLLM, from_config
from power_loop.llms.openai_responses_request import RequestEncoder
from power_loop.llms.provider import LLMProviderConfig
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition
from power_loop.testing.faulty_server import FaultyServer

ASK = to_message("hi")
LOOK = ToolDefinition("look", "Looks.", {"type": "object", "properties": {"b": {}, "a": {}}})
EXTRACTED = b"what the file says"
PICTURE = Image(address(PNG), "image/png", len(PNG))
PAPER = Document(address(PDF), "application/pdf", "paper.pdf", len(PDF), address(EXTRACTED))
INPUT_IMAGE = {
    "type": "input_image",
    "detail": "auto",
    "image_url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
}
INPUT_FILE = {
    "type": "input_file",
    "filename": "paper.pdf",
    "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
}
AS_TEXT = {"type": "input_text", "text": "[File 'paper.pdf' (application/pdf), as text:]\nwhat the file says"}


def user(*blocks) -> AgentMessage:
    return AgentMessage(MessageRole.USER, blocks)


def assistant(*blocks, calls=()) -> AgentMessage:
    return AgentMessage(MessageRole.ASSISTANT, blocks, tuple(calls))


def own(text: str, data: str | None = "opaque", name: str | None = "rs_1") -> Reasoning:
    return Reasoning(text, origin="openai_responses", data=data, id=name)


@tool(effect="read")
async def peek() -> str:
    """Peek."""
    return "a thing"


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer([replying(spoken("x")) for _ in range(9)]) as running:
        yield running


async def sent(server: FaultyServer, *messages: AgentMessage, request=None, **settings):
    """Return the body that arrives for these messages."""
    llm = OpenAIResponsesLLM(model="m", base_url=server.base_url, **settings)
    await llm.complete(request or LLMRequest(messages, blobs=Blobs(PNG, PDF, EXTRACTED)))
    await llm.close()
    return server.requests[-1].json


async def test_a_request_says_all_it_has_to_say(server):
    request = LLMRequest(
        [
            ASK,
            assistant(Text("Let me look."), calls=[ToolCall("c1", "look", {"a": 1})]),
            AgentMessage(MessageRole.TOOL, "found", tool_call_id="c1", name="look"),
        ],
        system_prompt="Be brief.",
        tools=[LOOK],
        tool_choice="none",
        model="other",
        max_tokens=5,
        temperature=0.5,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        extra={"seed": 1, "input": "not this way", "store": True, "previous_response_id": "resp_0"},
    )
    body = await sent(
        server, request=request, extra={"seed": 0, "text": {"verbosity": "low"}, "include": ["i"]}, api_key="key-123456"
    )
    assert server.requests[0].path == "/v1/responses"
    assert server.requests[0].headers["authorization"] == "Bearer key-123456"
    assert body == {
        "model": "other",
        "store": False,
        "stream": True,
        "instructions": "Be brief.",
        "tools": [
            {
                "type": "function",
                "name": "look",
                "description": "Looks.",
                "parameters": LOOK.input_schema,
                "strict": False,
            }
        ],
        "input": [
            {"type": "message", "role": "user", "content": "hi"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "found"},
        ],
        "tool_choice": "none",
        "max_output_tokens": 5,
        "temperature": 0.5,
        "seed": 1,
        "include": ["i"],
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}},
    }


async def test_what_a_request_does_not_ask_for_is_not_mentioned(server):
    assert set(await sent(server, ASK)) == {"model", "store", "stream", "input"}


async def test_any_json_goes_where_the_wire_has_it(server):
    body = await sent(server, request=LLMRequest([ASK], response_format={"type": "json_object"}))
    assert body["text"] == {"format": {"type": "json_object"}}


# -- reasoning


async def test_reasoning_goes_back_where_it_stood(server):
    calls = [ToolCall("c1", "look"), ToolCall("c2", "look"), ToolCall("c3", "look")]
    said = assistant(own("a"), CallSlot(0), own("", "more", "rs_2"), CallSlot(1), CallSlot(9), calls=calls)
    results = [AgentMessage(MessageRole.TOOL, "r", tool_call_id=call.id) for call in calls]
    items = (await sent(server, ASK, said, *results, encrypted_reasoning=True))["input"]
    assert items[1] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}],
        "encrypted_content": "opaque",
    }
    assert items[3] == {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "more"}
    assert [item.get("call_id") for item in items[1:6]] == [None, "c1", None, "c2", "c3"]


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(Reasoning("t", signature="s", origin="anthropic", data="d"), id="of another provider"),
        pytest.param(Reasoning("t"), id="of a wire that does not take it back"),
        pytest.param(own("t", data=None), id="without anything to send"),
    ],
)
async def test_reasoning_that_the_provider_cannot_read_stays_here(server, foreign):
    items = (await sent(server, ASK, assistant(foreign, Text("yes")), encrypted_reasoning=True))["input"]
    assert [item["type"] for item in items] == ["message", "message"]


async def test_a_server_that_was_not_asked_for_encrypted_reasoning_gets_none(server):
    body = await sent(server, ASK, assistant(own("t"), Text("yes")))
    assert [item["type"] for item in body["input"]] == ["message", "message"]
    assert "include" not in body


async def test_reasoning_that_led_to_nothing_is_not_sent(server):
    body = await sent(server, ASK, assistant(own("cut off")), to_message("go on"), encrypted_reasoning=True)
    assert [item.get("role") for item in body["input"]] == ["user", "user"]
    assert body["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize(
    ("model", "reasons"),
    [("gpt-5-mini", True), ("o4-mini", True), ("gpt-5-chat-latest", False), ("gpt-4o", False), ("gpt-4.1", False)],
)
def test_openais_models_are_asked_for_what_they_have(model, reasons):
    encoder = RequestEncoder(model, official=True, temperature=0.0)
    body = encoder.encode(LLMRequest([ASK]))
    assert (b'"include":["reasoning.encrypted_content"]' in body) is reasons
    assert (b'"temperature"' in body) is not reasons
    assert b'"temperature":0.5' in encoder.encode(LLMRequest([ASK], temperature=0.5))


def test_the_model_of_a_request_decides_what_is_asked_for():
    encoder = RequestEncoder("gpt-5-mini", official=True, temperature=0.0)
    body = encoder.encode(LLMRequest([ASK], model="gpt-4.1"))
    assert b"include" not in body
    assert b'"temperature":0.0' in body


# -- images and documents


async def test_images_and_documents_stand_where_they_stood(server):
    message = user(Text("before"), PICTURE, Text("between"), PAPER, Text("behind"))
    (item,) = (await sent(server, message, documents="native"))["input"]
    texts = [{"type": "input_text", "text": text} for text in ("before", "between", "behind")]
    assert item["content"] == [texts[0], INPUT_IMAGE, texts[1], INPUT_FILE, texts[2]]


async def test_a_tool_may_return_images_and_documents(server):
    asked = assistant(calls=[ToolCall("c1", "look")])
    result = AgentMessage(MessageRole.TOOL, (Text("seen"), PICTURE, PAPER), tool_call_id="c1")
    items = (await sent(server, ASK, asked, result, documents="native"))["input"]
    assert items[-1] == {
        "type": "function_call_output",
        "call_id": "c1",
        "output": [{"type": "input_text", "text": "seen"}, INPUT_IMAGE, INPUT_FILE],
    }


async def test_a_server_that_takes_no_files_gets_their_text(server):
    (item,) = (await sent(server, user(PAPER)))["input"]
    assert item["content"] == [AS_TEXT]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (Document(address(EXTRACTED), "text/plain", "a.txt"), "[File 'a.txt' (text/plain), as text:]\n" + "what the"),
        (Document(address(PNG), "application/zip"), "[File 'unnamed' (application/zip): this model cannot read it"),
        (Document(address(PNG), "text/plain", 'x"\n]'), "[File 'x\"\\n]' (text/plain), as text:]\n\ufffdPNG"),
    ],
)
async def test_other_documents_are_text_or_named_at_least(server, document, text):
    (item,) = (await sent(server, user(document), documents="native"))["input"]
    assert item["content"][0]["text"].startswith(text)


async def test_without_a_reader_the_request_names_what_it_cannot_read(server):
    with pytest.raises(InvalidRequestError, match=address(PNG)):
        await sent(server, request=LLMRequest([user(PICTURE)]))
    assert server.requests == []


async def test_a_reader_that_fails_fails_the_call_as_it_is(server):
    with pytest.raises(KeyError):
        await sent(server, request=LLMRequest([user(PICTURE)], blobs=Blobs()))
    assert server.requests == []


async def test_each_blob_is_read_once_for_all_requests(server):
    llm = OpenAIResponsesLLM(model="m", base_url=server.base_url, documents="native")
    blobs, messages = Blobs(PNG, PDF), [user(PICTURE, PAPER, PICTURE)]
    for _ in range(3):
        await llm.complete(LLMRequest(tuple(messages), blobs=blobs))
        messages.append(to_message("and?"))
    assert blobs.read == [address(PNG), address(PDF)]
    await llm.close()


# -- the same bytes


async def test_each_request_begins_with_the_bytes_of_the_one_before():
    script = [
        replying(thought("plan", name="rs_1"), called("c1", "look", '{"b": 1}')),
        replying(
            thought(name="rs_2"), called("c2", "look", "{}"), thought("é", name="rs_3"), called("c3", "look", "{}")
        ),
        replying(thought("why", name="rs_4"), status="incomplete", reason="max_output_tokens"),
        replying(spoken("Bo", "th.")),
        replying(spoken("No.", refusal=True)),
    ]
    results = iter(["☀", (Text("a picture"), PICTURE), (PAPER,)])
    messages = [user(Text("Look at "), PICTURE)]
    async with FaultyServer(script) as server:
        llm = OpenAIResponsesLLM(
            model="m", base_url=server.base_url, encrypted_reasoning=True, documents="native", max_tokens=9
        )
        for turn, choice in enumerate(("auto", "required", "auto", "none", "auto")):
            request = LLMRequest(
                tuple(messages), "s", [LOOK], choice, temperature=turn / 10, blobs=Blobs(PNG, PDF, EXTRACTED)
            )
            reply = said(await llm.complete(request))
            messages.append(reply)
            messages += [
                AgentMessage(MessageRole.TOOL, next(results), tool_call_id=call.id) for call in reply.tool_calls
            ]
            if not reply.tool_calls:
                messages.append(user(Text(f"And {turn}?"), PICTURE))
        await llm.close()
    bodies = [request.body for request in server.requests]
    assert len(bodies) == 5
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier[: earlier.rindex(b'],"tool_choice"')] + b",")
    assert bodies[-1].count(b'"encrypted_content"') == 3


async def test_reasoning_survives_a_reload_in_its_place(tmp_path):
    thoughts = [
        replying(thought("plan"), called("c1", "peek", "{}"), thought(name="rs_2"), called("c2", "peek", "{}")),
        replying(spoken("Seen.")),
        replying(spoken("Again.")),
    ]
    async with FaultyServer(thoughts) as server:
        session = ""
        for text in ("Look.", "And now?"):
            llm = OpenAIResponsesLLM(model="m", base_url=server.base_url, encrypted_reasoning=True)
            loop = StatefulAgentLoop(llm=llm, db_path=str(tmp_path / "s.db"), tools=[peek])
            session = (await loop.send(text, session or None)).session_id
            await loop.close()
            await llm.close()
        bodies = [request.body for request in server.requests]
    items = json.loads(bodies[-1])["input"]
    kinds = ["reasoning", "function_call"] * 2 + ["function_call_output"] * 2
    assert [item["type"] for item in items] == ["message", *kinds, "message", "message"]
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier[: earlier.rindex(b'],"tool_choice"')] + b",")


def test_a_message_is_converted_once_and_forgotten_with_the_history():
    encoder = RequestEncoder("m", official=False)
    messages = [to_message(f"message {number}") for number in range(100)]
    converted: list[AgentMessage] = []
    convert = encoder._messages._convert

    def counted(message, *given):
        converted.append(message)
        return convert(message, *given)

    encoder._messages._convert = counted
    for length in range(1, 101):
        assert encoder.encode(LLMRequest(messages[:length])).count(b"message ") == length
    assert len(converted) == 100
    converted.clear()
    messages.clear()
    assert len(encoder._messages) == 0


async def test_text_that_json_cannot_carry_is_refused_before_it_is_sent(server):
    with pytest.raises(InvalidRequestError):
        await sent(server, to_message("\ud800"))
    assert server.requests == []


def test_settings_make_the_service():
    cfg = LLMProviderConfig("m", "http://127.0.0.1:1/v1", provider="openai-compat", max_tokens=7, extra={"a": 1})
    llm = from_config(cfg)
    body = llm._encoder.encode(LLMRequest([ASK]))
    assert (llm.model, llm.base_url, llm.idle_timeout, llm.max_retries) == ("m", cfg.base_url, 180.0, 3)
    assert body.endswith(b'"max_output_tokens":7,"temperature":0.0,"a":1}')
