"""Taking names of models apart: who serves it, what it is called there, what it is called everywhere.

Provider ids are those of genai-prices. Bedrock's forms are those of its model and inference profile ids
(``us.anthropic.claude-sonnet-4-5-20250929-v1:0``), Vertex AI's of its publisher models (``claude-opus-4-1@20250805``).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

LOCAL: Final = "local"
UNPRICED: Final = "openai-compat"
"""Some endpoint that speaks OpenAI's format: who serves the model, and for what price, is not known."""

_PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "openai-compat": UNPRICED,
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "aws": "aws",
    "amazon-bedrock": "aws",
    "vertex": "google",
    "vertex_ai": "google",
    "google": "google",
    "gemini": "google",
    "local": LOCAL,
    "openrouter": "openrouter",
    "groq": "groq",
    "cerebras": "cerebras",
    "together": "together",
    "fireworks": "fireworks",
    "mistral": "mistral",
    "mistralai": "mistral",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "x-ai": "x-ai",
    "moonshotai": "moonshotai",
    "zai": "zai",
    "z-ai": "zai",
    "minimax": "minimax",
    "cohere": "cohere",
    "perplexity": "perplexity",
}
_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|jp|au|ca|sa|us-gov|global)\.)?"
    r"(?:anthropic|amazon|ai21|cohere|deepseek|google|meta|minimax|mistral|moonshot|nvidia|openai|qwen|writer|zai)"
    r"\.(?P<name>[a-z].*)"
)
_TAG = re.compile(r"[@:]")


class ModelName(NamedTuple):
    """``provider``: an id of ours, an endpoint's URL, or None; ``full`` as it is there; ``bare``: the model alone."""

    provider: str | None
    full: str
    bare: str


def parse_name(model: str, provider: str | None = None) -> ModelName:
    """Take a name apart. A ``provider:`` or ``provider/`` in front counts where no provider is given."""
    full = model.strip().lower()
    given = None if provider is None else provider.strip().lower()
    for mark in ":/":
        head, _, rest = full.partition(mark)
        if rest and head in _PROVIDERS and given in {None, head}:
            given, full = head, rest
    bedrock = _BEDROCK.fullmatch(full.rpartition("/")[2])
    if bedrock is not None and given is None:
        given = "aws"
    last = bedrock["name"] if bedrock else full.rpartition("/")[2]
    bare = _TAG.split(last.removeprefix("ft:"))[0]
    return ModelName(None if given is None else _PROVIDERS.get(given, given), full, bare)


def is_url(provider: str | None) -> bool:
    """Tell whether a provider is given as its endpoint."""
    return provider is not None and provider.startswith(("http://", "https://"))
