"""POST a body to an Anthropic Messages endpoint and hear the events of the answer, or a typed error.

The official SDK carries the requests, with its own retries off; the stream is read here, so that one that was cut
off is never taken for a complete one. Knows nothing of what the events mean.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, TypeAlias, cast

import msgspec

from power_loop.facts.errors import LLMError, LLMMalformed
from power_loop.llms.anthropic_frames import CONTENT_TYPE as FRAMES
from power_loop.llms.anthropic_frames import FrameDecoder
from power_loop.llms.clients import ANTHROPIC, ClientPool, SdkClient, load_sdk
from power_loop.llms.explain import Explainer
from power_loop.llms.sse import EventDecoder

Pieces: TypeAlias = AsyncGenerator[bytes, None]

PATH = "/v1/messages"
CONNECT_TIMEOUT = 10.0
"""Seconds that opening a connection may take."""
MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Longest reply on the wire; what is longer is not a reply."""
_HEADERS = {"Content-Type": "application/json", "X-Stainless-Raw-Response": "stream"}
"""The second asks the SDK for the response as it is instead of its parsed stream."""
_DRAIN_SECONDS = 0.1
_WRONG_BODY_BYTES = 64 * 1024
_NO_STREAM = ("application/json", "text/html")


class AnthropicWire:
    """Sends bodies to one endpoint. ``client`` is the host's own, used as it is; None: the pool's."""

    def __init__(
        self, pool: ClientPool, explain: Explainer, *, idle_timeout: float, client: SdkClient | None = None
    ) -> None:
        self._pool = pool
        self._explain = explain
        self._idle_timeout = idle_timeout
        self._client = client
        self._silence: Any = None

    async def events(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """Yield the data of each event of the answer. Closing the generator closes the connection.

        Raises an LLMError, and MissingExtraError without the SDK.
        """
        response = await self._open(body)
        try:
            async with aclosing(cast("Pieces", response.iter_bytes())) as pieces:
                kind = response.headers.get("content-type", "")
                if kind.startswith(_NO_STREAM):
                    raise self._not_a_stream(kind, await self._beginning(pieces))
                decoder = FrameDecoder() if kind.startswith(FRAMES) else EventDecoder()
                received = 0
                while (piece := await self._next(pieces)) is not None:
                    received += len(piece)
                    if received > MAX_REPLY_BYTES:
                        raise self._explain.make(LLMMalformed, f"the reply is longer than {MAX_REPLY_BYTES} bytes")
                    for data in self._split(decoder, piece):
                        yield data
        finally:
            await response.close()

    async def _open(self, body: bytes) -> Any:  # noqa: ANN401 -- the SDK's response
        client = self._client or await self._pool.get()
        sdk = await load_sdk(ANTHROPIC)
        if self._silence is None:
            self._silence = sdk.Timeout(self._idle_timeout, connect=CONNECT_TIMEOUT)
        options = {"headers": _HEADERS, "max_retries": 0, "timeout": self._silence}
        # Clients of other platforms move parts of the body to where their platform wants them.
        whole = isinstance(client, sdk.AsyncAnthropic)
        content = {"content": body} if whole else {"body": msgspec.json.decode(body)}
        try:
            return await client.post(PATH, cast_to=object, options=options, **content)
        except Exception as error:  # noqa: BLE001 -- whatever the SDK raises becomes one of our errors
            failure = self._explain.exception(error)
        raise failure  # outside the handler, so that no SDK exception with its request hangs on ours

    async def _next(self, pieces: Pieces) -> bytes | None:
        try:
            return await anext(pieces, None)
        except Exception as error:  # noqa: BLE001 -- whatever the HTTP library raises becomes one of our errors
            failure = self._explain.exception(error, streaming=True)
        raise failure

    def _split(self, decoder: EventDecoder | FrameDecoder, piece: bytes) -> list[bytes]:
        try:
            return decoder.feed(piece)
        except ValueError as error:
            reason = str(error)
        raise self._explain.make(LLMMalformed, reason)

    async def _beginning(self, pieces: Pieces) -> bytes:
        body = b""
        while len(body) < _WRONG_BODY_BYTES and (piece := await self._next(pieces)) is not None:
            body += piece
        return body

    def _not_a_stream(self, kind: str, body: bytes) -> LLMError:
        try:
            said = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = None
        if isinstance(said, dict) and said.get("error"):
            return self._explain.in_stream(said["error"])
        return self._explain.make(LLMMalformed, f"the endpoint answered with {kind} instead of an event stream")


async def drain(events: AsyncGenerator[bytes, None]) -> None:
    """Read what follows the end marker, so that the connection can be used again; the reply is complete already."""
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in events:
                pass
