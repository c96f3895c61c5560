"""P20 with images, documents and long results: each request's messages are the last one's and more, on every wire,
also when another process and another client go on with the session.
"""

import json
from itertools import pairwise

import pytest
from content_samples import GIF, JPEG, PNG, pdf

from power_loop import SqliteStore, StatefulAgentLoop, document, image, tool
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.results import read_result_tool

WIRES = {
    "chat": lambda: OpenAIChatLLM(model="m", api_key="key-123456", documents="text"),
    "chat, PDF": lambda: OpenAIChatLLM(model="m", api_key="key-123456", documents="native"),
    "responses": lambda: OpenAIResponsesLLM(model="m", api_key="key-123456"),
    "anthropic": lambda: AnthropicLLM(model="claude-sonnet-4-5", api_key="key-123456", cache=None),
    "anthropic, text": lambda: AnthropicLLM(
        model="claude-sonnet-4-5", api_key="key-123456", cache=None, documents="text"
    ),
}


class Encoded(ScriptedLLM):
    """Plays a script, and keeps the bodies that a real client would send."""

    def __init__(self, wire: str, bodies: list, *lines) -> None:
        super().__init__(*lines)
        self._encoder = WIRES[wire]()._encoder
        self._bodies = bodies

    async def complete(self, request, **given):
        body = json.loads(self._encoder.encode(request, await self._encoder.media(request)))
        self._bodies.append(body.get("messages", body.get("input")))
        return await super().complete(request, **given)


@tool(effect="read")
def camera(name: str) -> object:
    """Take a picture."""
    pictures = {"one": ["Front:", image(JPEG), "and", image(GIF)], "two": image(PNG)}
    return pictures.get(name, [document(pdf("Paper"))])


@tool(effect="read", output_limit=400)
def dump() -> str:
    """Return a lot."""
    return "x" * 1000


def blocks(wire: str, messages: list) -> list:
    """The content in its order; Anthropic's messages are joined by role, so that only their blocks stay."""
    if not wire.startswith("anthropic"):
        return messages
    return [(message["role"], block) for message in messages for block in message["content"]]


@pytest.mark.parametrize("wire", WIRES)
async def test_requests_only_grow(wire, tmp_path):
    path, bodies = str(tmp_path / "sessions.db"), []
    turns = [
        (["Look:", image(PNG), "and read:", document(pdf("Page one"), name="one.pdf"), document(b"plain")],
         [reply("", call("camera", name="one"), call("dump")), reply("", call("camera", name="paper")), "Seen."]),
        ("More.", [reply("Wait", call("camera", name="two")), "Seen again."]),
        ([image(GIF)], ["Thanks."]),
    ]  # fmt: skip
    session = None
    for value, lines in turns:  # a new store, client and loop each time: nothing is known but the file
        store = SqliteStore(path)
        llm = Encoded(wire, bodies, *lines)
        loop = StatefulAgentLoop(llm=llm, store=store, tools=[camera, dump, read_result_tool()])
        session = (await loop.send(value, session)).session_id
        await store.close()
    assert len(bodies) == 6
    for before, after in pairwise(blocks(wire, body) for body in bodies):
        assert after[: len(before)] == before
        assert len(after) > len(before)


SEEN = {
    "chat": (["Look:", "<image>", "File 'one.pdf'"], ["<image>"], "text"),
    "responses": (["Look:", "<image>", "<file>"], ["Front:", "<image>", "and", "<image>"], "file"),
    "anthropic": (["Look:", "<image>", "<file>"], ["Front:", "<image>", "and", "<image>"], "file"),
}


def told(part) -> str:
    if part["type"] in {"image_url", "input_image", "image"}:
        return "<image>"
    if part["type"] in {"file", "input_file", "document"}:
        return "<file>"
    return part["text"].partition(" (")[0].strip("[")


@pytest.mark.parametrize("wire", SEEN)
async def test_each_wire_says_it_in_its_own_way_and_in_order(wire):
    bodies = []
    llm = Encoded(wire, bodies, reply("", call("camera", name="one")), "Seen.")
    loop = StatefulAgentLoop(llm=llm, db_path=":memory:", tools=[camera])
    await loop.send(["Look:", image(PNG), document(pdf("Page one"), name="one.pdf")])
    sent, *_, last = bodies[1]
    assert [told(part) for part in sent["content"]] == SEEN[wire][0]
    if wire == "chat":  # text with the result, the pictures behind the batch
        assert bodies[1][-2]["content"] == "Front:\nand"
        assert [told(part) for part in last["content"]][1:] == ["<image>", "<image>"]
    else:
        result = last["output"] if wire == "responses" else last["content"][0]["content"]
        assert [told(part) for part in result] == SEEN[wire][1]
