"""A model service from settings, and settings from the environment."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from power_loop.facts.errors import ConfigError
from power_loop.llms.redaction import redact
from power_loop.ports.llm import LLMService

DEFAULT_PREFIX = "POWER_LOOP"
FALLBACK_PREFIX = "OPENAI_COMPAT"
DEFAULT_MODEL = "default"
"""Model name that stands for the local provider's own model."""


@dataclass(frozen=True, repr=False)
class LLMProviderConfig:
    """Which model, where, and how it is called.

    Args:
        model: Name of the model; for ``local`` the path of a GGUF file, or ``default``.
        base_url: Endpoint. None: for ``openai`` what the SDK's own environment variables say.
        api_key: Key. None: for ``openai`` likewise, for ``openai-compat`` no key is sent.
        provider: ``openai`` (Chat Completions), ``openai-responses``, ``anthropic``, ``openai-compat`` (any endpoint
            that speaks Chat Completions, base_url required) or ``local``.
        timeout_s: Longest silence within a call, in seconds.
        max_tokens: Cap of a reply, used where a request sets none; None sends none.
        temperature: Used where a request sets none; None sends none.
        max_retries: How often the engine may repeat a failed call.
        extra: Goes into the body of each request.

    For ``local`` only model, max_tokens and temperature count: nothing is sent anywhere.

    Raises ConfigError, naming the field, for values that cannot work. The key never shows in ``repr``.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = None
    provider: str = "openai"
    timeout_s: float = 180.0
    max_tokens: int | None = 8000
    temperature: float | None = 0.0
    max_retries: int = 3
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = _wrong_field(self)
        if wrong is not None:
            raise ConfigError(f"LLMProviderConfig.{wrong} cannot work: {_ADVICE[wrong]}.", field=wrong)

    def __repr__(self) -> str:
        url = None if self.base_url is None else redact(self.base_url, [self.api_key or ""])
        key = None if self.api_key is None else "***"
        return (
            f"LLMProviderConfig(model={self.model!r}, base_url={url!r}, api_key={key!r}, provider={self.provider!r}, "
            f"timeout_s={self.timeout_s!r}, max_tokens={self.max_tokens!r}, temperature={self.temperature!r}, "
            f"max_retries={self.max_retries!r}, extra={sorted(self.extra)!r})"
        )

    @classmethod
    def from_env(
        cls,
        *,
        prefix: str = DEFAULT_PREFIX,
        fallback_prefix: str = FALLBACK_PREFIX,
        env: Mapping[str, str] | None = None,
    ) -> "LLMProviderConfig":
        """Read the settings from environment variables named ``{prefix}_{FIELD}``.

        ``_MODEL`` is required; ``_BASE_URL``, ``_API_KEY``, ``_PROVIDER``, ``_TIMEOUT_S``, ``_MAX_TOKENS``,
        ``_TEMPERATURE`` and ``_MAX_RETRIES`` are optional; ``none`` as a number means None. What is unset or empty
        is looked up with the fallback prefix. ``env`` None is the process's own environment.

        Raises ConfigError naming the variable.
        """
        return config_from_env(prefix=prefix, fallback_prefix=fallback_prefix, env=env)


def config_from_env(
    *,
    prefix: str = DEFAULT_PREFIX,
    fallback_prefix: str = FALLBACK_PREFIX,
    env: Mapping[str, str] | None = None,
    model: str | None = None,
    provider: str | None = None,
) -> LLMProviderConfig:
    """Do what LLMProviderConfig.from_env does, with a model or provider that is already known."""
    variables = os.environ if env is None else env
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in _FIELDS:
        for variable in (f"{prefix}_{name.upper()}", f"{fallback_prefix}_{name.upper()}"):
            text = variables.get(variable, "").strip()
            if text and name not in values:
                values[name], sources[name] = _parsed(name, variable, text), variable
    values |= {name: value for name, value in (("model", model), ("provider", provider)) if value}
    if "model" not in values:
        raise ConfigError(f"No model: set {prefix}_MODEL (or {fallback_prefix}_MODEL).", field="model")
    try:
        return LLMProviderConfig(**values)
    except ConfigError as error:
        name = error.details["field"]
        source = sources.get(name, f"{prefix}_{name.upper()}")
    raise ConfigError(f"{source}: {_ADVICE[name]}.", field=name)


def _parsed(name: str, variable: str, text: str) -> Any:  # noqa: ANN401 -- the field's type
    parse = _PARSERS.get(name)
    if parse is None:
        return text
    if text.lower() == "none" and name in _OPTIONAL:
        return None
    try:
        return parse(text)
    except ValueError:
        pass
    raise ConfigError(f"{variable}={text!r} is not a number: {_ADVICE[name]}.", field=name)


_PARSERS: Mapping[str, Callable[[str], float]] = {
    "timeout_s": float,
    "max_tokens": int,
    "temperature": float,
    "max_retries": int,
}
_OPTIONAL = frozenset({"max_tokens", "temperature"})
_FIELDS = ("model", "base_url", "api_key", "provider", *_PARSERS)


_ADAPTERS: Mapping[str, str] = {
    "openai": "power_loop.llms.openai_chat",
    "openai-responses": "power_loop.llms.openai_responses",
    "openai-compat": "power_loop.llms.openai_chat",
    "anthropic": "power_loop.llms.anthropic",
    "local": "power_loop.llms.local",
}
"""Where the ``from_config`` of each provider is; an adapter is loaded when it is named, not before."""
PROVIDERS = tuple(_ADAPTERS)
"""Names of the providers that this release knows."""

_ADVICE: Mapping[str, str] = {
    "model": "name a model",
    "provider": f"known providers are {', '.join(PROVIDERS)}",
    "timeout_s": "give seconds above 0",
    "max_tokens": "give a number of tokens above 0, or none for no cap",
    "temperature": "give 0 or more, or none to send none",
    "max_retries": "give 0 or more",
    "base_url": "give the http(s) URL of the endpoint; openai-compat cannot do without",
}


def _wrong_field(cfg: LLMProviderConfig) -> str | None:
    url_needed = cfg.provider == "openai-compat"
    right = {
        "model": bool(cfg.model),
        "provider": cfg.provider in PROVIDERS,
        "timeout_s": 0 < cfg.timeout_s < math.inf,
        "max_tokens": cfg.max_tokens is None or cfg.max_tokens > 0,
        "temperature": cfg.temperature is None or 0 <= cfg.temperature < math.inf,
        "max_retries": cfg.max_retries >= 0,
        "base_url": cfg.base_url.startswith(("http://", "https://")) if cfg.base_url else not url_needed,
    }
    return next((name for name, fine in right.items() if not fine), None)


def create_llm_service_from_config(cfg: LLMProviderConfig) -> LLMService:
    """Return the service that the settings describe. Nothing is connected or imported before its first call."""
    service: LLMService = import_module(_ADAPTERS[cfg.provider]).from_config(cfg)
    return service


def create_llm_service_from_env(*, prefix: str = DEFAULT_PREFIX, fallback_prefix: str = FALLBACK_PREFIX) -> LLMService:
    """Return the service that the environment describes; see LLMProviderConfig.from_env.

    Raises ConfigError naming the variable that is missing or wrong.
    """
    return create_llm_service_from_config(config_from_env(prefix=prefix, fallback_prefix=fallback_prefix))
