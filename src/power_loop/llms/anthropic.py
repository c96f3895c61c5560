"""The Anthropic Messages service: Anthropic itself, its models on other platforms, and compatible endpoints."""

import re
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from power_loop.facts.errors import ConfigError, LLMBadRequest, LLMError, LLMMalformed, LLMRefused, LLMTruncated
from power_loop.llms.anthropic_request import CacheTime, RequestEncoder
from power_loop.llms.anthropic_stream import BrokenStream, Event, ReplyBuilder, StreamedError, decode_event
from power_loop.llms.anthropic_wire import AnthropicWire
from power_loop.llms.catalogue import Overrides
from power_loop.llms.clients import ANTHROPIC, KEYLESS, Endpoint, SdkClient, endpoint_of
from power_loop.llms.media import Documents
from power_loop.llms.provider import LLMProviderConfig
from power_loop.llms.remote import RemoteLLM, arguments_of
from power_loop.llms.wire import DEFAULT_IDLE_TIMEOUT, drain
from power_loop.ports.llm import LLMResponse, OnDelta

if TYPE_CHECKING:
    import anthropic

    Client: TypeAlias = (
        anthropic.AsyncAnthropic | anthropic.AsyncAnthropicBedrock | anthropic.AsyncAnthropicVertex | SdkClient
    )

DEFAULT_MAX_TOKENS = 8192
"""Cap of a reply in tokens where nobody sets one; the API insists on a number."""
_SECRETS = ("api_key", "auth_token", "access_token", "aws_secret_key", "aws_session_token")
_WITH_TEMPERATURE = re.compile(r"claude-(instant|[23]|[a-z]+-4(?!-[7-9](?!\d)))")
"""Anthropic's models until Claude 4.6; later ones refuse any temperature."""


class AnthropicLLM(RemoteLLM):
    """A model behind an Anthropic ``/v1/messages`` endpoint.

    Args:
        model: Name of the model, used where a request names none.
        base_url: URL up to and without ``/v1/messages``; None reads ``ANTHROPIC_BASE_URL``, else Anthropic's own.
        api_key: None reads ``ANTHROPIC_API_KEY``. A base_url without any key is used without one.
        client: An ``anthropic.AsyncAnthropic`` of your own, or one for another platform such as
            ``AsyncAnthropicBedrock`` or ``AsyncAnthropicVertex``, used as it is instead of base_url and api_key, and
            never closed here. It belongs to one event loop.
        idle_timeout: Seconds without a single byte after which the call is an LLMStalled.
        timeout: Seconds a whole reply may take, None for no limit; beyond it the call is an LLMStalled.
        max_tokens: Cap of the reply in tokens where a request sets none.
        temperature: Used where a request sets none; None sends none. Not sent with thinking and not to Claude models
            after 4.6, which refuse it; a temperature that the request itself asks for is always sent.
        thinking: The API's own setting, such as ``{"type": "adaptive"}`` or ``{"type": "enabled", "budget_tokens":
            4096}``; None sends none. Left out of single calls with which the API does not take it: that force a
            tool, whose cap is not above the budget, or that continue tool calls made without thinking.
        cache: How long the API keeps the prefix of a request: five minutes, an hour, or None not to ask for it.
        documents: ``native`` sends PDF files as they are, ``text`` what was extracted from them.
        extra: Further fields of the request body; a request's own ``extra`` wins.
        max_retries: Retries that the host wishes for. Nothing is retried here: each attempt is a recorded fact, and
            the engine makes them.
        model_info: By model name, what counts instead of what the catalogue knows: a ModelInfo, or some of its fields.
    """

    _SDK = ANTHROPIC
    _WIRE = AnthropicWire
    _PATH = "/v1/messages"
    _FORMAT = "messages"

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        client: "Client | None" = None,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT,
        timeout: float | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        temperature: float | None = None,
        thinking: Mapping[str, Any] | None = None,
        cache: CacheTime | None = "5m",
        documents: Documents = "native",
        extra: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
        model_info: Overrides | None = None,
    ) -> None:
        for name, value in (("thinking", thinking), ("extra", extra)):
            if value is not None and not isinstance(value, Mapping):
                raise ConfigError(
                    f"{name} is a mapping of the API's fields, such as {{'type': 'adaptive'}}, got {value!r}."
                )
        own = cast("SdkClient | None", client)
        super().__init__(
            model,
            _endpoint(base_url, api_key) if own is None else _endpoint_of_client(own),
            own,
            idle_timeout=idle_timeout,
            timeout=timeout,
            max_retries=max_retries,
            model_info=model_info,
        )
        if "claude" in model and not _WITH_TEMPERATURE.search(model):
            temperature = None
        self._encoder = RequestEncoder(
            model,
            max_tokens=max_tokens,
            temperature=temperature,
            thinking=thinking,
            extra=extra or {},
            cache=cache,
            documents=documents,
            place=self._place,
        )

    async def _call(self, body: bytes, on_delta: OnDelta) -> LLMResponse:
        builder = ReplyBuilder(on_delta)
        async with aclosing(self._wire.events(body)) as events:
            async for data in events:
                self._add(builder, data)
                if builder.ended:
                    response = self._finish(builder)
                    await drain(events)
                    return response
        raise self._explain.make(LLMTruncated, "the stream ended without its end marker")

    def _add(self, builder: ReplyBuilder, data: bytes) -> None:
        event = self._decode(data)
        try:
            builder.add(event)
        except BrokenStream as error:
            failure = self._explain.make(LLMMalformed, str(error))
        else:
            return
        raise failure

    def _decode(self, data: bytes) -> Event:
        try:
            return decode_event(data)
        except StreamedError as error:
            failure = self._explain.in_stream(error.error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            failure = self._explain.make(LLMMalformed, f"an event cannot be decoded: {error}")
        raise failure

    def _finish(self, builder: ReplyBuilder) -> LLMResponse:
        failure = self._failure(builder.stop_reason, builder.stop_details)
        if failure is not None:
            raise failure
        return builder.build()

    def _failure(self, reason: str | None, details: object) -> LLMError | None:
        if reason is None:
            return self._explain.make(LLMTruncated, "the stream ended without a stop reason")
        if reason == "refusal":
            said = details if isinstance(details, Mapping) else {}
            words = said.get("explanation") or said.get("category") or "no reason given"
            return self._explain.make(LLMRefused, f"the model refused: {words}")
        if reason == "pause_turn":
            return self._explain.make(LLMBadRequest, "the reply paused for a tool that the provider itself runs")
        return None


def _endpoint(base_url: str | None, api_key: str | None) -> Endpoint:
    endpoint = endpoint_of(base_url, api_key, ANTHROPIC)
    root = endpoint.base_url and endpoint.base_url.rstrip("/").removesuffix("/v1")
    return replace(endpoint, base_url=root)


def _endpoint_of_client(client: SdkClient) -> Endpoint:
    """Return where a client of the host's own sends requests, and what of it must not be shown."""
    secrets = [value for name in _SECRETS if isinstance(value := getattr(client, name, None), str) and value]
    endpoint = endpoint_of(str(getattr(client, "base_url", "")), secrets[0] if secrets else KEYLESS, ANTHROPIC)
    return replace(endpoint, secrets=(*endpoint.secrets, *secrets))


def from_config(cfg: LLMProviderConfig) -> AnthropicLLM:
    """Make the service. An endpoint of one's own is never sent the key of ``ANTHROPIC_API_KEY``."""
    max_tokens = DEFAULT_MAX_TOKENS if cfg.max_tokens is None else cfg.max_tokens
    return AnthropicLLM(**arguments_of(cfg) | {"max_tokens": max_tokens})
