"""A model service from one string, such as ``openai:gpt-5-mini``."""

from power_loop.facts.errors import ConfigError
from power_loop.llms.provider import (
    DEFAULT_MODEL,
    PROVIDERS,
    LLMProviderConfig,
    config_from_env,
    create_llm_service_from_config,
)
from power_loop.ports.llm import LLMService

FORMS = "openai:MODEL, openai-responses:MODEL, anthropic:MODEL, openai-compat:MODEL, local, local:PATH"


def service_from_string(text: str) -> LLMService:
    """Return the service that ``provider:model`` names.

    ``openai:MODEL`` (Chat Completions) and ``openai-responses:MODEL`` read ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL``,
    ``anthropic:MODEL`` reads ``ANTHROPIC_API_KEY`` and ``ANTHROPIC_BASE_URL``. ``openai-compat:MODEL`` reads the
    variables of LLMProviderConfig.from_env; without a model also that. ``local`` is the small model that LocalLLM
    fetches, ``local:PATH`` a GGUF file. Nothing is connected or imported before the first call.

    Raises ConfigError, listing the known forms, for anything else and for a file that is not there, and
    MissingExtraError for ``local`` without its package.
    """
    provider, _, model = text.partition(":")
    provider, model = provider.strip().lower(), model.strip()
    if provider not in PROVIDERS:
        raise ConfigError(f"Unknown model provider {provider!r} in {text!r}. Known forms: {FORMS}.")
    if provider == "openai-compat":
        return create_llm_service_from_config(config_from_env(model=model, provider=provider))
    if provider == "local":
        model = model or DEFAULT_MODEL
    if not model:
        raise ConfigError(f"{text!r} names no model. Known forms: {FORMS}.")
    return create_llm_service_from_config(
        LLMProviderConfig(model, provider=provider, max_tokens=None, temperature=None)
    )
