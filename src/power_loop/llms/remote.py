"""What services behind a provider's SDK have in common: settings, one call at a time, what it costs."""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec

from power_loop.llms.catalogue import Overrides, lookup
from power_loop.llms.catalogue import Wire as WireFormat
from power_loop.llms.clients import KEYLESS, OPENAI, ClientPool, Endpoint, Sdk, SdkClient
from power_loop.llms.encoding import BodyEncoder
from power_loop.llms.explain import Explainer
from power_loop.llms.origins import marked, place_of
from power_loop.llms.provider import LLMProviderConfig
from power_loop.llms.redaction import redact
from power_loop.llms.wire import Wire
from power_loop.llms.words_for_media import WordsForMedia
from power_loop.ports.cost import cost_text
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta
from power_loop.ports.models import ModelInfo


class RemoteLLM(ABC):
    """A model behind an endpoint. Its wire format says how a request is encoded and how an answer is read."""

    _SDK: ClassVar[Sdk] = OPENAI
    _PATH: ClassVar[str]
    _FORMAT: ClassVar[WireFormat]
    _WIRE: ClassVar[type[Wire]] = Wire
    _encoder: BodyEncoder

    def __init__(
        self,
        model: str,
        endpoint: Endpoint,
        client: SdkClient | None,
        *,
        idle_timeout: float,
        timeout: float | None,
        max_retries: int | None,
        model_info: Overrides | None,
    ) -> None:
        self.model = model
        self.base_url = redact(endpoint.base_url or self._SDK.url, endpoint.secrets)
        self.idle_timeout = idle_timeout
        self.timeout = timeout
        self.max_retries = max_retries
        self._place = place_of(self.base_url)
        self._model_info = model_info
        self._described = False
        self._words = WordsForMedia()
        self._pool = ClientPool(endpoint, self._SDK)
        self._explain = Explainer(model, self.base_url, idle_timeout=idle_timeout, secrets=endpoint.secrets)
        self._wire = self._WIRE(self._PATH, self._pool, self._explain, idle_timeout=idle_timeout, client=client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, base_url={self.base_url!r})"

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return the complete reply; ``on_delta`` hears its pieces as they arrive.

        Raises an LLMError, InvalidRequestError for a request that JSON cannot carry or whose images cannot be read,
        MissingExtraError without the SDK, ConfigError as ``describe``, and what ``request.blobs`` raises. Cancelling
        the task closes the connection.
        """
        info = await self._info(request.model)  # before the call: a cancel here must not hit a paid reply
        taken = self._words.apply(request.messages, info)
        if taken is not request.messages:
            request = msgspec.structs.replace(request, messages=taken)
        body = self._encoder.encode(request, await self._encoder.media(request))
        prices = info.prices
        response = marked(await self._wire.within(self.timeout, self._call(body, on_delta)), self._place)
        if prices is None or not (response.usage.input_tokens or response.usage.output_tokens):
            return response
        return msgspec.structs.replace(response, cost=cost_text(response.usage, prices))

    async def close(self) -> None:
        """Let go of connections, on every loop that still runs."""
        await self._pool.close()

    def describe(self, model: str | None = None) -> ModelInfo:
        """Return what the catalogue knows of a model at this endpoint, with ``model_info`` put in.

        The first call may take 0.2 seconds, since price data is loaded where its package is installed. Raises
        ConfigError for an override or a ``POWER_LOOP_SUPPORTS_*`` variable that cannot work.
        """
        return lookup(model or self.model, self.base_url, self._model_info, wire=self._FORMAT)

    async def _info(self, model: str | None) -> ModelInfo:
        if not self._described:
            await asyncio.to_thread(self.describe, model)  # loads data, and leases must be renewed meanwhile
            self._described = True
        return self.describe(model)

    @abstractmethod
    async def _call(self, body: bytes, on_delta: OnDelta) -> LLMResponse:
        """Send the body and read the answer. Raises an LLMError."""


def arguments_of(cfg: LLMProviderConfig) -> dict[str, Any]:
    """Return what settings mean for a constructor. An endpoint of one's own is never sent the SDK's key."""
    return {
        "model": cfg.model,
        "base_url": cfg.base_url,
        "api_key": cfg.api_key or (KEYLESS if cfg.base_url else None),
        "idle_timeout": cfg.timeout_s,
        "max_tokens": cfg.max_tokens,
        "temperature": cfg.temperature,
        "max_retries": cfg.max_retries,
        "extra": cfg.extra,
    }
