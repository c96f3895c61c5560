"""P5: a model that is known to take no images is not sent any, so that one image does not end a session."""

import json

import pytest
from wires import FORMATS

from power_loop import MemoryStore, StatefulAgentLoop, image
from power_loop.facts.errors import InvalidRequestError
from power_loop.facts.media import PDF
from power_loop.facts.messages import AgentMessage, Document, Image, MessageRole, Text
from power_loop.llms.local import LocalLLM
from power_loop.llms.words_for_media import WordsForMedia, in_words
from power_loop.ports.llm import LLMRequest
from power_loop.ports.models import ModelInfo
from power_loop.testing.faulty_server import FaultyServer

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
BLIND = {"scripted": {"inputs": frozenset({"text"}), "context_window": 100_000}}

BLOB, TEXT = "sha256:" + "0" * 64, "sha256:" + "1" * 64


@pytest.mark.parametrize("wire", FORMATS)
async def test_a_model_without_eyes_is_told_of_an_image_in_words(wire):
    async with FaultyServer([wire.text("I cannot see it."), wire.text("As I said.")]) as server:
        llm = wire.at(server, api_key="key-of-the-tests", model_info=BLIND)
        loop = StatefulAgentLoop(llm=llm, store=MemoryStore())
        result = await loop.send(["Look:", image(PNG)])
        again = await loop.send("And now?", result.session_id)
        assert (result.status, again.status) == ("completed", "completed")
        bodies = [json.dumps(request.json, ensure_ascii=False) for request in server.requests]
        await llm.close()
    for body in bodies:
        assert "this model takes no images" in body
        assert "base64" not in body
    assert bodies[0].count("Look:") == 1


@pytest.mark.parametrize("wire", FORMATS)
async def test_a_model_nobody_knows_is_sent_what_the_host_gives(wire):
    async with FaultyServer([wire.text("Nice.")]) as server:
        llm = wire.at(server, api_key="key-of-the-tests")
        await StatefulAgentLoop(llm=llm, store=MemoryStore()).send(["Look:", image(PNG)])
        body = json.dumps(server.requests[0].json)
        await llm.close()
    assert "this model takes no images" not in body
    assert "base64" in body


def test_a_message_is_replaced_once_and_others_stay_themselves():
    words, info = WordsForMedia(), ModelInfo(inputs_known=True)
    blob = "sha256:" + "0" * 64
    plain = AgentMessage(MessageRole.USER, "plain")
    seen = AgentMessage(MessageRole.USER, (Image(blob, "image/png", 5),))
    first, second = (words.apply([plain, seen], info) for _ in range(2))
    assert first[0] is plain
    assert first[1] is second[1]
    assert first[1].text == "[Image (image/png, 5 bytes): this model takes no images.]"
    assert words.apply([seen], ModelInfo(inputs=frozenset({"text", "image"}), inputs_known=True))[0] is seen


def test_a_file_becomes_its_text_or_its_name():
    blob, text = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    files = (Document(blob, PDF, "paper.pdf", 5, text), Document(blob, PDF, "scan.pdf", 5))
    (shown,) = WordsForMedia().apply([AgentMessage(MessageRole.USER, files)], ModelInfo(inputs_known=True))
    assert shown.content[0] == Document(text, "text/plain", "paper.pdf")
    assert "scan.pdf" in shown.content[1].text


async def test_the_local_model_reads_words_for_all_there_is():
    async def blobs(address: str, /) -> bytes:
        return {TEXT: b"what the file says"}[address]

    blocks = (Text("Look:"), Image(BLOB, "image/png", 5), Document(BLOB, PDF, "paper.pdf", 5, TEXT), Text("Well?"))
    messages = [AgentMessage(MessageRole.USER, "plain"), AgentMessage(MessageRole.USER, blocks)]
    plain, shown = (await in_words(LLMRequest(messages, blobs=blobs))).messages
    assert plain is messages[0]
    assert shown.content.splitlines() == [
        "Look:",
        "[Image (image/png, 5 bytes): this model takes no images.]",
        "[File 'paper.pdf' (text/plain), as text:]",
        "what the file says",
        "Well?",
    ]


async def test_the_local_model_puts_a_request_into_words_before_it_does_anything(tmp_path):
    """Without a reader that fails; the file that is no model is not even opened."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"no model")
    llm = LocalLLM(path)
    assert llm.describe().inputs_known
    with pytest.raises(InvalidRequestError, match="blobs"):
        await llm.complete(LLMRequest([AgentMessage(MessageRole.USER, (Document(TEXT, "text/plain"),))]))
