"""Replies as Anthropic's API sends them, for the scripted server."""

import json
from collections.abc import Mapping
from typing import Any

from power_loop.testing.faulty_server import Framing, Reply

ZERO = {"input_tokens": 10, "output_tokens": 1}


def said(kind: str, **fields: Any) -> bytes:
    """Return one event, named twice as the API does."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, ensure_ascii=False)}\n\n".encode()


def start(usage: Mapping[str, Any] | None = None, model: str = "scripted") -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [], "usage": usage}
    return said("message_start", message=message | {"usage": dict(usage or ZERO)})


def opened(index: int, kind: str, **fields: Any) -> bytes:
    return said("content_block_start", index=index, content_block={"type": kind, **fields})


def grown(index: int, kind: str, **fields: Any) -> bytes:
    return said("content_block_delta", index=index, delta={"type": kind, **fields})


def closed(index: int) -> bytes:
    return said("content_block_stop", index=index)


def text(index: int, *pieces: str) -> bytes:
    middle = [grown(index, "text_delta", text=piece) for piece in pieces]
    return b"".join([opened(index, "text", text=""), *middle, closed(index)])


def thought(index: int, *pieces: str, signature: str | None = "sig") -> bytes:
    middle = [grown(index, "thinking_delta", thinking=piece) for piece in pieces]
    if signature is not None:
        middle.append(grown(index, "signature_delta", signature=signature))
    return b"".join([opened(index, "thinking", thinking="", signature=""), *middle, closed(index)])


def call(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    middle = [grown(index, "input_json_delta", partial_json=piece) for piece in pieces]
    return b"".join([opened(index, "tool_use", id=call_id, name=name, input={}), *middle, closed(index)])


def ended(reason: str | None = "end_turn", usage: Mapping[str, Any] | None = None, **details: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None, **details}
    return said("message_delta", delta=delta, usage=dict(usage or {"output_tokens": 5}))


STOP = said("message_stop")
PING = said("ping")


def reply(*blocks: bytes, reason: str | None = "end_turn", framing: Framing = "chunked") -> Reply:
    """Return a complete reply of these blocks."""
    return Reply((start(), PING, *blocks, ended(reason), STOP), framing=framing)


def text_reply(*pieces: str) -> Reply:
    return reply(text(0, *pieces))


def error_reply(
    status: int, kind: str = "api_error", message: str = "scripted failure", headers: Mapping[str, str] | None = None
) -> Reply:
    """Return an error as Anthropic's API sends it."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()
    return Reply((body,), status, {"Content-Type": "application/json", "request-id": "req_1"} | dict(headers or {}))
