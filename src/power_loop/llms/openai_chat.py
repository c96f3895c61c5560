"""The OpenAI Chat Completions service: OpenAI itself and every endpoint that speaks its format.

The official SDK carries the requests, with its own retries off; the event stream is read here, because the SDK
hides the end marker and takes a stream that was cut off for a complete one.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

from power_loop.facts.errors import (
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRefused,
    LLMStalled,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.llms.clients import KEYLESS, ClientPool, endpoint_of, load_sdk
from power_loop.llms.explain import Explainer
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.llms.openai_chat_stream import DONE, Chunk, ReplyBuilder, StreamedError, decode_chunk
from power_loop.llms.provider import LLMProviderConfig
from power_loop.llms.redaction import redact
from power_loop.llms.sse import EventDecoder
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta

if TYPE_CHECKING:
    import openai

Pieces: TypeAlias = AsyncGenerator[bytes, None]

OPENAI_HOST: Final = "api.openai.com"
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
_FIXED_TEMPERATURE = r"(o\d|gpt-5(?!.*chat))"
_FAILED_REASONS: dict[str, type[LLMError]] = {
    "error": LLMUnavailable,
    "insufficient_system_resource": LLMOverloaded,
    "content_filter": LLMRefused,
    "sensitive": LLMRefused,
    "safety": LLMRefused,
    "refusal": LLMRefused,
}


class OpenAIChatLLM:
    """A model behind an OpenAI-compatible ``/chat/completions`` endpoint.

    Args:
        model: Name of the model, used where a request names none.
        base_url: URL up to and without ``/chat/completions``; None reads ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: None reads ``OPENAI_API_KEY``. A base_url without any key is used without one.
        client: An ``openai.AsyncOpenAI`` of your own, used as it is instead of base_url and api_key, and never
            closed here. It belongs to one event loop. For Azure set its ``azure_deployment``.
        idle_timeout: Seconds without a single byte after which the call is an LLMStalled.
        timeout: Seconds a whole reply may take, None for no limit; beyond it the call is an LLMStalled.
        max_tokens: Cap of the reply in tokens where a request sets none; None sends none.
        temperature: Used where a request sets none; None sends none. Not sent to OpenAI's reasoning models, which
            refuse it; a temperature that the request itself asks for is always sent.
        max_tokens_field: Name of the cap in the request; None means ``max_completion_tokens`` for OpenAI itself and
            ``max_tokens`` elsewhere.
        extra: Further fields of the request body; a request's own ``extra`` wins.
        reasoning_field: Field in which earlier reasoning is sent back (``"reasoning_content"`` for DeepSeek and
            Kimi in thinking mode); None sends none.
        require_done: A reply counts when its finish reason *and* the ``data: [DONE]`` event have arrived. False,
            for endpoints that never send the latter, accepts a finish reason and the clean end of the body.
        max_retries: Retries that the host wishes for. Nothing is retried here: each attempt is a recorded fact, and
            the engine makes them.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        client: "openai.AsyncOpenAI | None" = None,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        timeout: float | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        max_tokens_field: str | None = None,
        extra: Mapping[str, Any] | None = None,
        reasoning_field: str | None = None,
        require_done: bool = True,
        max_retries: int | None = None,
    ) -> None:
        self.model = model
        self.idle_timeout = idle_timeout
        self.timeout = timeout
        self.max_retries = max_retries
        self._client = client
        self._silence: Any = None
        self._require_done = require_done
        endpoint = endpoint_of(str(client.base_url), client.api_key) if client else endpoint_of(base_url, api_key)
        self._pool = ClientPool(endpoint)
        self.base_url = redact(endpoint.base_url or f"https://{OPENAI_HOST}/v1", endpoint.secrets)
        official = urlsplit(self.base_url).hostname == OPENAI_HOST
        if official and re.match(_FIXED_TEMPERATURE, model):
            temperature = None
        self._explain = Explainer(model, self.base_url, idle_timeout=idle_timeout, secrets=endpoint.secrets)
        self._encoder = RequestEncoder(
            model,
            max_tokens=max_tokens,
            max_tokens_field=max_tokens_field or ("max_completion_tokens" if official else "max_tokens"),
            temperature=temperature,
            extra=extra or {},
            reasoning_field=reasoning_field,
        )

    def __repr__(self) -> str:
        return f"OpenAIChatLLM(model={self.model!r}, base_url={self.base_url!r})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the complete reply; ``on_delta`` hears its pieces as they arrive.

        Raises an LLMError, InvalidRequestError for a request that JSON cannot carry, and MissingExtraError without
        the SDK. Cancelling the task closes the connection.
        """
        body = self._encoder.encode(request)
        try:
            async with asyncio.timeout(self.timeout) as limit:
                return await self._call(body, on_delta)
        except TimeoutError:
            if not limit.expired():
                raise
        raise self._explain.make(LLMStalled, f"no complete reply within {self.timeout:g} s")

    async def close(self) -> None:
        """Let go of connections, on every loop that still runs."""
        await self._pool.close()

    async def _call(self, body: bytes, on_delta: OnDelta) -> LLMResponse:
        response = await self._open(body)
        try:
            async with aclosing(cast("Pieces", response.iter_bytes())) as pieces:
                kind = response.headers.get("content-type", "")
                if kind.startswith(_NO_STREAM):
                    raise self._not_a_stream(kind, await self._beginning(pieces))
                return await self._read(pieces, ReplyBuilder(on_delta))
        finally:
            await response.close()

    async def _open(self, body: bytes) -> "openai.AsyncAPIResponse[object]":
        client = self._client or await self._pool.get()
        if self._silence is None:
            self._silence = (await load_sdk()).Timeout(self.idle_timeout, connect=CONNECT_TIMEOUT)
        options = {"headers": _HEADERS, "max_retries": 0, "timeout": self._silence}
        try:
            response = await client.post(
                "/chat/completions", cast_to=object, content=body, options=cast("Any", options)
            )
        except Exception as error:  # noqa: BLE001 -- whatever the SDK raises becomes one of our errors
            failure = self._explain.exception(error)
        else:
            return cast("openai.AsyncAPIResponse[object]", response)
        raise failure  # outside the handler, so that no SDK exception with its request hangs on ours

    async def _read(self, pieces: Pieces, builder: ReplyBuilder) -> LLMResponse:
        events = EventDecoder()
        received = 0
        while (piece := await self._next(pieces)) is not None:
            received += len(piece)
            if received > MAX_REPLY_BYTES:
                raise self._explain.make(LLMMalformed, f"the reply is longer than {MAX_REPLY_BYTES} bytes")
            for data in self._split(events, piece):
                if data == DONE:
                    await _drain(pieces)
                    return self._finish(builder)
                builder.add(self._decode(data))
        if self._require_done or builder.finish_reason is None:
            raise self._explain.make(LLMTruncated, "the stream ended without its end marker")
        return self._finish(builder)

    async def _next(self, pieces: Pieces) -> bytes | None:
        try:
            return await anext(pieces, None)
        except Exception as error:  # noqa: BLE001 -- whatever the HTTP library raises becomes one of our errors
            failure = self._explain.exception(error, streaming=True)
        raise failure

    def _split(self, events: EventDecoder, piece: bytes) -> list[bytes]:
        try:
            return events.feed(piece)
        except ValueError as error:
            reason = str(error)
        raise self._explain.make(LLMMalformed, reason)

    def _decode(self, data: bytes) -> Chunk:
        try:
            return decode_chunk(data)
        except StreamedError as error:
            failure = self._explain.in_stream(error.error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            failure = self._explain.make(LLMMalformed, f"a chunk cannot be decoded: {error}")
        raise failure

    def _finish(self, builder: ReplyBuilder) -> LLMResponse:
        reason = builder.finish_reason
        if reason is None:
            raise self._explain.make(LLMTruncated, "the stream ended without a finish reason")
        failed = _FAILED_REASONS.get(reason.lower())
        if failed is not None:
            raise self._explain.make(failed, f"the reply ended with finish_reason {reason!r}")
        builder.flush()
        try:
            return builder.build()
        except ValueError as error:
            cause = str(error)
        raise self._explain.make(LLMMalformed, cause)

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


async def _drain(pieces: Pieces) -> None:
    """Read what follows the end marker, so that the connection can be used again; the reply is complete already."""
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in pieces:
                pass


def from_config(cfg: LLMProviderConfig) -> OpenAIChatLLM:
    """Make the service. An endpoint of one's own is never sent the key of ``OPENAI_API_KEY``."""
    return OpenAIChatLLM(
        model=cfg.model,
        base_url=cfg.base_url,
        api_key=cfg.api_key or (KEYLESS if cfg.base_url else None),
        idle_timeout=cfg.timeout_s,
        max_tokens=cfg.max_tokens,
        temperature=cfg.temperature,
        max_retries=cfg.max_retries,
        extra=cfg.extra,
    )
