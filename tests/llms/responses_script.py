"""Scripted Responses streams for FaultyServer, in the shape in which OpenAI sends them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.ports.llm import LLMResponse
from power_loop.testing.faulty_server import Reply, event

PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
PDF = b"%PDF-1.7 not much of a document"


def address(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Blobs:
    """A reader of blobs that counts what it reads."""

    def __init__(self, *blobs: bytes) -> None:
        self.known = {address(data): data for data in blobs}
        self.read: list[str] = []

    async def __call__(self, blob: str, /) -> bytes:
        self.read.append(blob)
        return self.known[blob]


class Item:
    """One item of a reply: the events that bring it, and what it is in the end."""

    def __init__(self, final: dict[str, Any], begun: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        self.final, self.begun, self.deltas = final, begun, deltas

    def events(self, index: int) -> list[bytes]:
        where = {"output_index": index}
        return [
            event({"type": "response.output_item.added", "item": self.begun} | where),
            *[event({"item_id": self.final["id"]} | where | delta) for delta in self.deltas],
            event({"type": "response.output_item.done", "item": self.final} | where),
        ]


def spoken(*pieces: str, name: str = "msg_1", refusal: bool = False) -> Item:
    kind, key = ("refusal", "refusal") if refusal else ("output_text", "text")
    begun = {"type": "message", "id": name, "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": kind, key: "".join(pieces)}
    deltas = [{"type": f"response.{kind}.delta", "content_index": 0, "delta": piece} for piece in pieces]
    done = {"type": "response.content_part.done", "content_index": 0, "part": part}
    return Item(begun | {"status": "completed", "content": [part]}, begun, [*deltas, done])


def thought(*summary: str, name: str = "rs_1", data: str | None = "secret thoughts") -> Item:
    begun = {"type": "reasoning", "id": name, "summary": [], "encrypted_content": "not yet"}
    deltas = [
        {"type": "response.reasoning_summary_text.delta", "summary_index": part, "delta": text}
        for part, text in enumerate(summary)
    ]
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return Item(begun | {"summary": parts, "encrypted_content": data}, begun, deltas)


def called(call_id: str, name: str, arguments: str) -> Item:
    half = len(arguments) // 2
    begun = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": ""}
    kind = "response.function_call_arguments.delta"
    deltas = [{"type": kind, "delta": piece} for piece in (arguments[:half], arguments[half:])]
    return Item(begun | {"arguments": arguments}, begun, deltas)


def usage_of(given: int, made: int, cached: int = 0, thinking: int = 0) -> dict[str, Any]:
    """Return figures as OpenAI reports them."""
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thinking},
        "total_tokens": given + made,
    }


def opening() -> bytes:
    return event({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}})


def ending(
    *items: Item, status: str = "completed", usage: Mapping[str, Any] | None = None, reason: str | None = None, **more
) -> bytes:
    response = {
        "id": "resp_1",
        "status": status,
        "model": "scripted",
        "output": [item.final for item in items],
        "usage": usage or usage_of(10, 5),
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
    }
    return event({"type": f"response.{status}", "response": response | more})


def steps_of(*items: Item) -> list[bytes]:
    return [step for index, item in enumerate(items) for step in item.events(index)]


def replying(*items: Item, framing="chunked", **end) -> Reply:
    """Return a complete reply of these items."""
    return Reply((opening(), *steps_of(*items), ending(*items, **end)), framing=framing)


def said(response: LLMResponse) -> AgentMessage:
    """Return the message that a reply becomes in the history."""
    calls = tuple(ToolCall(call.id, call.name, json.loads(call.arguments)) for call in response.tool_calls)
    return AgentMessage(MessageRole.ASSISTANT, response.content, calls)
