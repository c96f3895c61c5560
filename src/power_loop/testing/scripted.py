"""A scripted model: says what a test tells it to, checks every request it gets, and costs nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from power_loop.facts import jsontext
from power_loop.facts.messages import Content
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    OnDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
    ignore_delta,
    validate_request,
)


class ScriptExhausted(AssertionError):
    """The model was called more often than the script says."""


Line: TypeAlias = (
    "str | LLMResponse | Exception | Callable[[LLMRequest], str | LLMResponse | Awaitable[str | LLMResponse]]"
)


def call(name: str, /, *, id: str = "", **arguments: Any) -> ReplyCall:  # noqa: A002, ANN401 -- the wire's word
    """Make a tool call for :func:`reply`; without ``id`` the kernel mints one."""
    return ReplyCall(id, name, jsontext.encode(arguments))


def reply(
    content: Content = "",
    *calls: ReplyCall,
    usage: LLMTokenUsage | None = None,
    finish_reason: FinishReason | None = None,
    cost: str | None = None,
) -> LLMResponse:
    """Make a reply: text, and the tools it asks for."""
    reason = finish_reason or ("tool_calls" if calls else "stop")
    return LLMResponse(content, calls, reason, usage or LLMTokenUsage(10, 5), "scripted", cost)


class ScriptedLLM:
    """Plays its lines in order; past the last one it raises ScriptExhausted, or repeats the last with ``repeat``.

    A line is text, a reply, an exception to raise, or a function of the request (sync or async). ``requests``
    keeps what was asked; each request is checked by the protocol validator first.
    """

    def __init__(self, *lines: Line, repeat: bool = False, chunk: int = 0, keep: bool = True) -> None:
        self.lines: Sequence[Line] = lines
        self.requests: list[LLMRequest] = []
        self.calls = 0
        self._repeat = repeat
        self._chunk = chunk
        self._keep = keep

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Play the next line."""
        validate_request(request)
        if self._keep:
            self.requests.append(request)
        position = min(self.calls, len(self.lines) - 1) if self._repeat else self.calls
        self.calls += 1
        if position >= len(self.lines):
            raise ScriptExhausted(f"Call {self.calls} of a script of {len(self.lines)} line(s).")
        line = self.lines[position]
        if isinstance(line, Exception):
            raise line
        answer = line(request) if callable(line) else line
        if isinstance(answer, Awaitable):
            answer = await answer
        response = reply(answer) if isinstance(answer, str) else answer
        await self._stream(response, on_delta)
        return response

    async def close(self) -> None:
        """Nothing to let go of."""

    async def _stream(self, response: LLMResponse, on_delta: OnDelta) -> None:
        if on_delta is ignore_delta:
            return
        size = self._chunk or max(len(response.text), 1)
        for start in range(0, len(response.text), size):
            on_delta(TextDelta(response.text[start : start + size]))
            if self._chunk:
                await asyncio.sleep(0)
        for index, item in enumerate(response.tool_calls):
            on_delta(ToolCallDelta(index, item.id, item.name, item.arguments))
