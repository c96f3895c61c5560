"""Token figures out of the many spellings in which providers report them."""

from collections.abc import Mapping, Sequence
from typing import Any

from power_loop.facts.usage import LLMTokenUsage

_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHE_READ = ("cached_tokens", "cache_read_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_CACHE_WRITE = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
_REASONING = ("reasoning_tokens",)


def _number(figures: Mapping[str, Any], keys: Sequence[str]) -> int:
    for key in keys:
        value = figures.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return 0


def _details(figures: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    for key in keys:
        value = figures.get(key)
        if isinstance(value, Mapping):
            return value
    return {}


def read_usage(figures: object) -> LLMTokenUsage | None:
    """Return the figures, or None where there are none. Counts that are missing, null or odd are 0."""
    if not isinstance(figures, Mapping):
        return None
    inputs, outputs = _details(figures, _INPUT_DETAILS), _details(figures, _OUTPUT_DETAILS)
    usage = LLMTokenUsage(
        input_tokens=_number(figures, _INPUT),
        output_tokens=_number(figures, _OUTPUT),
        cache_read_tokens=_number(inputs, _CACHE_READ) or _number(figures, _CACHE_READ),
        cache_write_tokens=_number(inputs, _CACHE_WRITE) or _number(figures, _CACHE_WRITE),
        reasoning_tokens=_number(outputs, _REASONING) or _number(figures, _REASONING),
    )
    return usage if usage.total_tokens else None
