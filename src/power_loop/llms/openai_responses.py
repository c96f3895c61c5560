"""The OpenAI Responses service: OpenAI itself and every endpoint that speaks its format.

Stateless: each request carries the whole conversation and asks the provider to keep nothing. What a model thought
comes back encrypted and is sent along with the next request, so that it goes on thinking where it was.
"""

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from power_loop.facts.errors import (
    LLMBadRequest,
    LLMError,
    LLMMalformed,
    LLMRefused,
    LLMTruncated,
)
from power_loop.llms.catalogue import Overrides
from power_loop.llms.clients import endpoint_of
from power_loop.llms.media import Documents
from power_loop.llms.openai_responses_request import RequestEncoder
from power_loop.llms.openai_responses_stream import DONE, Event, ReplyBuilder, decode_event, error_of
from power_loop.llms.provider import LLMProviderConfig
from power_loop.llms.remote import RemoteLLM, arguments_of
from power_loop.llms.wire import DEFAULT_IDLE_TIMEOUT, drain
from power_loop.ports.llm import LLMResponse, OnDelta

if TYPE_CHECKING:
    import openai

_FAILED_CODES: Mapping[str, type[LLMError]] = {
    "invalid_prompt": LLMRefused,
    "bio_policy": LLMRefused,
    "misalignment_policy_violation": LLMRefused,
    "image_content_policy_violation": LLMRefused,
    "data_residency_mismatch": LLMBadRequest,
    "empty_image_file": LLMBadRequest,
    "unsupported_image_media_type": LLMBadRequest,
}
"""Codes of the provider's error object for which a retry cannot help; other ``image`` codes likewise."""


class OpenAIResponsesLLM(RemoteLLM):
    """A model behind an OpenAI-compatible ``/responses`` endpoint.

    Args:
        model: Name of the model, used where a request names none.
        base_url: URL up to and without ``/responses``; None reads ``OPENAI_BASE_URL``, else OpenAI's own.
        api_key: None reads ``OPENAI_API_KEY``. A base_url without any key is used without one.
        client: An ``openai.AsyncOpenAI`` of your own, used as it is instead of base_url and api_key, and never
            closed here. It belongs to one event loop. For Azure also set encrypted_reasoning and documents.
        idle_timeout: Seconds without a single byte after which the call is an LLMStalled.
        timeout: Seconds a whole reply may take, None for no limit; beyond it the call is an LLMStalled.
        max_tokens: Cap of the reply in tokens, reasoning included, where a request sets none; None sends none.
        temperature: Used where a request sets none; None sends none. Not sent to OpenAI's reasoning models, which
            refuse it; a temperature that the request itself asks for is always sent.
        extra: Further fields of the request body, such as ``{"reasoning": {"effort": "low", "summary": "auto"}}``;
            a request's own ``extra`` wins.
        encrypted_reasoning: Ask for the model's reasoning in encrypted form and send it back with later requests.
            None does so for OpenAI's own reasoning models; other models and many other servers refuse it.
        documents: ``native`` sends PDF files as they are, ``text`` the text that was extracted from them; None is
            ``native`` for OpenAI itself and ``text`` elsewhere. Other documents are always sent as text.
        max_retries: Retries that the host wishes for. Nothing is retried here: each attempt is a recorded fact, and
            the engine makes them.
        model_info: By model name, what counts instead of what the catalogue knows: a ModelInfo, or some of its fields.
    """

    _PATH = "/responses"
    _FORMAT = "responses"

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
        extra: Mapping[str, Any] | None = None,
        encrypted_reasoning: bool | None = None,
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
        self._encoder = RequestEncoder(
            model,
            official=official,
            max_tokens=max_tokens,
            temperature=temperature,
            extra=extra,
            encrypted_reasoning=encrypted_reasoning,
            documents=documents or ("native" if official else "text"),
            place=self._place,
        )

    async def _call(self, body: bytes, on_delta: OnDelta) -> LLMResponse:
        builder = ReplyBuilder(on_delta)
        async with aclosing(self._wire.events(body)) as events:
            async for data in events:
                if data == DONE:
                    break
                if builder.add(self._decode(data)):
                    await drain(events)
                    return self._finish(builder)
        raise self._explain.make(LLMTruncated, "the stream ended without its end marker")

    def _decode(self, data: bytes) -> Event:
        try:
            event = decode_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            failure = self._explain.make(LLMMalformed, f"an event cannot be decoded: {error}")
        else:
            said = error_of(event)
            if said is None:
                return event
            failure = self._failed(said)
        raise failure

    def _failed(self, said: object) -> LLMError:
        code = str(said.get("code") or "").lower() if isinstance(said, Mapping) else ""
        kind = _FAILED_CODES.get(code) or (LLMBadRequest if "image" in code.split("_") else None)
        if kind is None:
            return self._explain.in_stream(said)
        reason = said.get("message") if isinstance(said, Mapping) else None
        return self._explain.make(kind, f"error inside the stream ({code}): {reason or 'no reason given'}")

    def _finish(self, builder: ReplyBuilder) -> LLMResponse:
        failure = builder.failure
        if failure is not None:
            raise self._explain.make(*failure)
        try:
            return builder.build()
        except ValueError as error:
            cause = str(error)
        raise self._explain.make(LLMMalformed, cause)


def from_config(cfg: LLMProviderConfig) -> OpenAIResponsesLLM:
    """Make the service. An endpoint of one's own is never sent the key of ``OPENAI_API_KEY``."""
    return OpenAIResponsesLLM(**arguments_of(cfg))
