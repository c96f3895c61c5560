"""An OpenAI Chat endpoint on loopback that plays scripted replies and faults, for tests of clients.

A real HTTP server on the standard library's streams: what it breaks is really broken.

    async with FaultyServer([text_reply("Hello"), error_reply(429, headers={"Retry-After": "1"})]) as server:
        llm = OpenAIChatLLM(model="any", base_url=server.base_url)
"""

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 429: "Too Many Requests", 500: "Internal Server Error"}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Wait:
    """Sends nothing until the event is set or the client is gone."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Hang:
    """Sends nothing more until the client is gone."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Breaks the connection with a TCP reset."""


@dataclass(frozen=True, slots=True)
class Close:
    """Closes the connection in good order, wherever the reply is."""


Step: TypeAlias = bytes | Wait | Hang | Reset | Close
Framing: TypeAlias = Literal["close", "chunked"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted reply: status line and headers, then the steps of its body in order.

    ``framing`` says how the body's end is marked: ``close`` by closing the connection, so that a cut looks like a
    regular end, ``chunked`` by HTTP chunks. ``cut`` closes the connection after that many bytes of the body, which
    with ``chunked`` leaves the last HTTP chunk open. ``before`` are steps that come before the status line.
    """

    steps: tuple[Step, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    framing: Framing = "chunked"
    cut: int | None = None
    before: tuple[Step, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes of the steps, joined."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))


def event(payload: object) -> bytes:
    """Return one server-sent event; bytes are its data as they are, anything else is written as JSON."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return b"data: " + data + b"\n\n"


def chunk(
    delta: Mapping[str, Any] | None = None,
    *,
    finish_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    model: str = "scripted",
) -> bytes:
    """Return a chat completion chunk as an event; without delta and finish reason it has no choices."""
    choices = [] if delta is None and finish_reason is None else [_choice(delta or {}, finish_reason)]
    payload = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices}
    return event(payload if usage is None else payload | {"usage": usage})


def _choice(delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """Return figures as OpenAI reports them."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def text_reply(*pieces: str, usage: Mapping[str, Any] | None = None, framing: Framing = "chunked") -> Reply:
    """Return a complete text reply, one chunk for each piece."""
    deltas = [chunk({"content": piece}) for piece in pieces]
    ending = [chunk(finish_reason="stop"), chunk(usage=usage or usage_of(10, 5)), DONE]
    return Reply((chunk({"role": "assistant", "content": ""}), *deltas, *ending), framing=framing)


def tool_reply(*calls: tuple[str, str, str], framing: Framing = "chunked") -> Reply:
    """Return a complete reply that asks for tools: (id, name, arguments as JSON text) each, cut in two pieces."""
    steps = []
    for index, (call_id, name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        parts = [{"index": index, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
        steps += [chunk({"tool_calls": [piece]}) for piece in (head, *parts)]
    ending = (chunk(finish_reason="tool_calls"), chunk(usage=usage_of(10, 5)), DONE)
    return Reply((*steps, *ending), framing=framing)


def error_reply(
    status: int,
    message: str = "scripted failure",
    *,
    code: str | None = None,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error as OpenAI sends it."""
    body = json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()
    return Reply((body,), status, {"Content-Type": "application/json"} | dict(headers or {}))


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 -- any JSON value
        """The body, decoded."""
        return json.loads(self.body)


class FaultyServer:
    """Plays its script, one reply per request, and answers 500 when the script is over.

    ``requests`` holds what arrived; ``arrived`` is set with the first. ``disconnected`` is set when a client was gone
    before its reply was complete.
    """

    def __init__(self, script: Iterable[Reply] = ()) -> None:
        self.script = list(script)
        self.requests: list[Received] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.disconnected = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "use it as an async context manager"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """What a client takes as its base_url."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.arrived.set()
                reply = self.script.pop(0) if self.script else error_reply(500, "the script is over")
                if not await self._play(reply, reader, writer):
                    break
        except ConnectionError:
            self.disconnected.set()
        finally:
            writer.close()

    async def _play(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Play one reply; tell whether the connection may be used again."""
        if not await self._steps(reply.before, Reply(framing="close"), reader, writer):
            return False
        writer.write(_head(reply))
        if not await self._steps(reply.steps, reply, reader, writer) or reply.cut is not None:
            return False
        if reply.framing == "close":
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _steps(
        self, steps: Sequence[Step], reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        left = reply.cut
        for step in steps:
            if isinstance(step, bytes):
                piece = step if left is None else step[:left]
                left = None if left is None else left - len(piece)
                writer.write(_framed(piece, len(step), reply.framing) if piece else b"")
                await writer.drain()
            elif isinstance(step, Reset | Close):
                _close(writer, step)
                return False
            elif not await self._wait(step, reader):
                return False
        return True

    async def _wait(self, step: Wait | Hang, reader: asyncio.StreamReader) -> bool:
        """Wait for the step's event; tell whether the client is still there."""
        gone = asyncio.ensure_future(reader.read(1))
        waiting = {gone}
        told = asyncio.ensure_future(step.event.wait()) if isinstance(step, Wait) else None
        everything: set[asyncio.Future[Any]] = {*waiting, told} if told else {*waiting}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if told is not None and told.done():
                return True
            self.disconnected.set()
            return False
        finally:
            for future in everything:
                future.cancel()
            await asyncio.gather(*everything, return_exceptions=True)


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Scripted')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append("Transfer-Encoding: chunked" if reply.framing == "chunked" else "Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _framed(piece: bytes, whole: int, framing: Framing) -> bytes:
    if framing == "close":
        return piece
    ending = b"\r\n" if len(piece) == whole else b""
    return f"{whole:x}\r\n".encode() + piece + ending


def _close(writer: asyncio.StreamWriter, step: Reset | Close) -> None:
    """Close the connection; for a reset with a zero linger time, which makes the system send RST."""
    if isinstance(step, Reset):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(first.split(" ")[1], headers, body)
