"""Images and documents over the Chat wire: in place for users, behind the batch for tools, always the same bytes."""

import base64
import hashlib
from itertools import pairwise

import pytest

from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.messages import AgentMessage, Document, Image, MessageRole, Reasoning, Text, ToolCall, to_message
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition
from power_loop.testing.faulty_server import FaultyServer, text_reply
from power_loop.testing.validator import ProtocolValidator

PNG, PDF, EXTRACTED = b"\x89PNG not much of a picture", b"%PDF-1.7 not much of a document", b"what the file says"


def address(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


KNOWN = {address(data): data for data in (PNG, PDF, EXTRACTED)}
PICTURE = Image(address(PNG), "image/png", len(PNG))
PAPER = Document(address(PDF), "application/pdf", "paper.pdf", len(PDF), address(EXTRACTED))
IMAGE_URL = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(PNG).decode()}"},
}
FILE = {
    "type": "file",
    "file": {
        "filename": "paper.pdf",
        "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
    },
}
AS_TEXT = {"type": "text", "text": "[File 'paper.pdf' (application/pdf), as text:]\nwhat the file says"}
LOOK = ToolDefinition("look", "Looks.")


async def blobs(blob: str, /) -> bytes:
    return KNOWN[blob]


def user(*blocks) -> AgentMessage:
    return AgentMessage(MessageRole.USER, blocks)


def asking(*ids: str) -> AgentMessage:
    return AgentMessage(MessageRole.ASSISTANT, "", tuple(ToolCall(name, "look") for name in ids))


def result(name: str, *blocks) -> AgentMessage:
    return AgentMessage(MessageRole.TOOL, blocks, tool_call_id=name)


async def sent(*messages: AgentMessage, **settings):
    """Return the messages that arrive."""
    async with FaultyServer([text_reply("x")]) as server:
        llm = OpenAIChatLLM(model="m", base_url=server.base_url, **settings)
        await llm.complete(LLMRequest(messages, tools=[LOOK], blobs=blobs))
        await llm.close()
        ProtocolValidator().check(server.requests[0].body)
        return server.requests[0].json["messages"]


async def test_a_users_images_and_documents_stand_where_they_stood():
    message = user(Text("before"), PICTURE, Text(""), PAPER, Text("behind"))
    (arrived,) = await sent(message, documents="native")
    before, behind = ({"type": "text", "text": text} for text in ("before", "behind"))
    assert arrived == {"role": "user", "content": [before, IMAGE_URL, FILE, behind]}


async def test_an_endpoint_that_takes_no_files_gets_their_text():
    (arrived,) = await sent(user(PAPER))
    assert arrived["content"] == [AS_TEXT]


def test_openai_itself_takes_files():
    official = OpenAIChatLLM(model="m", api_key="key-123456")
    other = OpenAIChatLLM(model="m", base_url="http://127.0.0.1:1/v1")
    for llm, part in ((official, b'"type":"file"'), (other, b"what the file says")):
        assert part in llm._encoder.encode(LLMRequest([user(PAPER)]), KNOWN)


async def test_what_tools_return_besides_text_follows_the_last_result_of_the_batch():
    batch = [result("c1", PICTURE), result("c2", Text("nothing")), result("c3", Text("see"), PAPER, PICTURE)]
    arrived = await sent(to_message("hi"), asking("c1", "c2", "c3"), *batch, to_message("and?"), documents="native")
    assert [message["role"] for message in arrived] == ["user", "assistant", "tool", "tool", "tool", *["user"] * 3]
    assert [message["content"] for message in arrived[3:5]] == ["nothing", "see"]
    assert arrived[2]["content"], "an empty result would say that there is none"
    first, second = arrived[5]["content"], arrived[6]["content"]
    assert "c1" in first[0]["text"]
    assert first[1:] == [IMAGE_URL]
    assert "c3" in second[0]["text"]
    assert second[1:] == [FILE, IMAGE_URL]
    assert arrived[7]["content"] == "and?"


async def test_the_model_sees_what_the_latest_tool_returned():
    arrived = await sent(to_message("hi"), asking("c1"), result("c1", PICTURE))
    assert arrived[-1]["role"] == "user"
    assert arrived[-1]["content"][1:] == [IMAGE_URL]


async def test_without_media_nothing_changes():
    arrived = await sent(user(Text("a"), Text("b")), asking("c1"), result("c1", Text("r")))
    assert arrived[0]["content"] == "ab"
    assert arrived[2] == {"role": "tool", "content": "r", "tool_call_id": "c1"}


async def test_without_a_reader_the_request_names_what_it_cannot_read():
    async with FaultyServer() as server:
        with pytest.raises(InvalidRequestError, match=address(PNG)):
            await OpenAIChatLLM(model="m", base_url=server.base_url).complete(LLMRequest([user(PICTURE)]))
        assert server.requests == []


async def test_each_request_begins_with_the_bytes_of_the_one_before_and_reads_each_blob_once():
    read: list[str] = []

    async def counting(blob: str, /) -> bytes:
        read.append(blob)
        return KNOWN[blob]

    turns = [
        [user(Text("Look at "), PICTURE)],
        [asking("a1", "a2"), result("a1", PICTURE), result("a2", Text("é"))],
        [asking("b1"), result("b1", Text("see"), PAPER)],
        [AgentMessage(MessageRole.ASSISTANT, (Reasoning("hm"), Text("Both."))), user(PAPER, Text("And this?"))],
        [asking("c1"), result("c1", PICTURE), to_message("Quick!")],
    ]
    messages: list[AgentMessage] = []
    async with FaultyServer([text_reply("x") for _ in turns]) as server:
        llm = OpenAIChatLLM(model="m", base_url=server.base_url, documents="native", reasoning_field="reasoning")
        for turn, choice in zip(turns, ("auto", "required", "auto", "none", "auto"), strict=True):
            messages += turn
            await llm.complete(LLMRequest(tuple(messages), "s", [LOOK], choice, blobs=counting))
        await llm.close()
    bodies = [request.body for request in server.requests]
    wire = ProtocolValidator()
    for body in bodies:
        wire.check(body)
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier[: earlier.rindex(b'],"tool_choice"')] + b",")
    assert len(read) == len(turns)
