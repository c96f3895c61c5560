"""POST a body to a provider's endpoint and hear the events of the answer, or a typed error.

The official SDK carries the requests, with its own retries off; the event stream is read here, because the SDK
hides the end marker and takes a stream that was cut off for a complete one. Knows nothing of what events mean.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from types import ModuleType
from typing import Any, Protocol, TypeAlias, cast

import msgspec

from power_loop.facts.errors import LLMError, LLMMalformed, LLMStalled
from power_loop.llms.clients import ClientPool, SdkClient, load_sdk
from power_loop.llms.explain import Explainer
from power_loop.llms.sse import EventDecoder
from power_loop.ports.llm import LLMResponse

Pieces: TypeAlias = AsyncGenerator[bytes, None]

DEFAULT_IDLE_TIMEOUT = 60.0
"""Seconds without a byte after which a call counts as stalled."""
CONNECT_TIMEOUT = 10.0
"""Seconds that opening a connection may take."""
MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Longest reply on the wire; what is longer is not a reply."""
_HEADERS = {"Content-Type": "application/json", "X-Stainless-Raw-Response": "stream"}
"""The second asks the SDK for the response as it is instead of its parsed stream."""
_DRAIN_SECONDS = 0.1
_WRONG_BODY_BYTES = 64 * 1024
_NO_STREAM = ("application/json", "text/html")


class Decoder(Protocol):
    """Splits events out of a byte stream, however it was cut into pieces."""

    def feed(self, piece: bytes, /) -> list[bytes]:
        """Return the data of each event that this piece completes. Raises ValueError for what is no stream."""
        ...


class Wire:
    """Sends bodies to one path of one endpoint. ``client`` is the host's own, used as it is; else ``pool``'s."""

    def __init__(
        self,
        path: str,
        pool: ClientPool,
        explain: Explainer,
        *,
        idle_timeout: float,
        client: SdkClient | None = None,
    ) -> None:
        self._path = path
        self._pool = pool
        self._explain = explain
        self._idle_timeout = idle_timeout
        self._client = client
        self._sdk: ModuleType | None = None

    def payload(self, client: SdkClient, sdk: ModuleType, body: bytes) -> Mapping[str, object]:  # noqa: ARG002 -- for those that override it
        """Return the arguments with which the client's ``post`` takes the body."""
        return {"content": body}

    def decoder(self, content_type: str) -> Decoder:  # noqa: ARG002 -- for those that override it
        """Return what reads an answer of this type."""
        return EventDecoder()

    async def within(self, timeout: float | None, call: Awaitable[LLMResponse]) -> LLMResponse:  # noqa: ASYNC109 -- None is no limit, and its passing is an LLMStalled
        """Return what the call returns. Raises LLMStalled after ``timeout`` seconds, None for no limit."""
        try:
            async with asyncio.timeout(timeout) as limit:
                return await call
        except TimeoutError:
            if not limit.expired():
                raise
        raise self._explain.make(LLMStalled, f"no complete reply within {timeout:g} s")

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
                decoder = self.decoder(kind)
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
        sdk = self._sdk = self._sdk or await load_sdk(self._pool.sdk)
        silence = sdk.Timeout(self._idle_timeout, connect=CONNECT_TIMEOUT)
        options = {"headers": _HEADERS, "max_retries": 0, "timeout": silence}
        try:
            return await client.post(self._path, cast_to=object, options=options, **self.payload(client, sdk, body))
        except Exception as error:  # noqa: BLE001 -- whatever the SDK raises becomes one of our errors
            failure = self._explain.exception(error)
        raise failure  # outside the handler, so that no SDK exception with its request hangs on ours

    async def _next(self, pieces: Pieces) -> bytes | None:
        try:
            return await anext(pieces, None)
        except Exception as error:  # noqa: BLE001 -- whatever the HTTP library raises becomes one of our errors
            failure = self._explain.exception(error, streaming=True)
        raise failure

    def _split(self, decoder: Decoder, piece: bytes) -> list[bytes]:
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
