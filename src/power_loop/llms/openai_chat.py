"""The OpenAI Chat Completions service: OpenAI itself and every endpoint that speaks its format.

Not every endpoint that calls itself compatible is: what differs is an option here.
"""

import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from power_loop.facts.errors import (
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRefused,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.llms.catalogue import Overrides
from power_loop.llms.clients import endpoint_of
from power_loop.llms.media import Documents
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.llms.openai_chat_stream import DONE, Chunk, ReplyBuilder, StreamedError, decode_chunk
from power_loop.llms.provider import LLMProviderConfig
from power_loop.llms.remote import RemoteLLM, arguments_of
from power_loop.llms.wire import DEFAULT_IDLE_TIMEOUT, drain
from power_loop.ports.llm import LLMResponse, OnDelta

if TYPE_CHECKING:
    import openai

_FIXED_TEMPERATURE = r"(o\d|gpt-5(?!.*chat))"
_FAILED_REASONS: dict[str, type[LLMError]] = {
    "error": LLMUnavailable,
    "insufficient_system_resource": LLMOverloaded,
    "content_filter": LLMRefused,
    "sensitive": LLMRefused,
    "safety": LLMRefused,
    "refusal": LLMRefused,
}


class OpenAIChatLLM(RemoteLLM):
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
        documents: ``native`` sends PDF files as they are, ``text`` the text that was extracted from them; None is
            ``native`` for OpenAI itself and ``text`` elsewhere. Other documents are always sent as text.
        max_retries: Retries that the host wishes for. Nothing is retried here: each attempt is a recorded fact, and
            the engine makes them.
        model_info: By model name, what counts instead of what the catalogue knows: a ModelInfo, or some of its fields.
    """

    _PATH = "/chat/completions"
    _FORMAT = "chat"

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
        documents: Documents | None = None,
        max_retries: int | None = None,
        model_info: Overrides | None = None,
    ) -> None:
        super().__init__(
            model,
            endpoint_of(str(client.base_url), client.api_key) if client else endpoint_of(base_url, api_key),
            client,
            idle_timeout=idle_timeout,
            timeout=timeout,
            max_retries=max_retries,
            model_info=model_info,
        )
        official = self._SDK.serves(self.base_url)
        if official and re.match(_FIXED_TEMPERATURE, model):
            temperature = None
        self._require_done = require_done
        self._encoder = RequestEncoder(
            model,
            max_tokens=max_tokens,
            max_tokens_field=max_tokens_field or ("max_completion_tokens" if official else "max_tokens"),
            temperature=temperature,
            extra=extra or {},
            reasoning_field=reasoning_field,
            documents=documents or ("native" if official else "text"),
        )

    async def _call(self, body: bytes, on_delta: OnDelta) -> LLMResponse:
        builder = ReplyBuilder(on_delta)
        async with aclosing(self._wire.events(body)) as events:
            async for data in events:
                if data == DONE:
                    await drain(events)
                    return self._finish(builder)
                builder.add(self._decode(data))
        if self._require_done or builder.finish_reason is None:
            raise self._explain.make(LLMTruncated, "the stream ended without its end marker")
        return self._finish(builder)

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


def from_config(cfg: LLMProviderConfig) -> OpenAIChatLLM:
    """Make the service. An endpoint of one's own is never sent the key of ``OPENAI_API_KEY``."""
    return OpenAIChatLLM(**arguments_of(cfg))
