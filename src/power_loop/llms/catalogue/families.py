"""Our own table of model families: windows, reply caps, inputs and native schemas.

Figures: the makers' model pages (OpenAI's "Models", Anthropic's "Models overview", Google's "Gemini models", Meta's,
Mistral's, DeepSeek's, Qwen's, xAI's, Moonshot's, Z.ai's and MiniMax's model cards), read through the community
database models.dev (MIT) as of 2026-08; where a provider offers a longer window behind an opt-in, the plain one
counts. ``pdf`` only where a wire format that we speak takes it: OpenAI's own and Anthropic's.

No prices: they change too often to be copied.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from power_loop.ports.models import InputKind

TEXT: frozenset[InputKind] = frozenset({"text"})
SEES: frozenset[InputKind] = frozenset({"text", "image"})
READS: frozenset[InputKind] = frozenset({"text", "image", "pdf"})


class Family(NamedTuple):
    """Models with one set of figures. ``generic``: the least that models of this make can do, for newer names."""

    pattern: str
    context_window: int
    max_output: int | None
    inputs: frozenset[InputKind]
    native_schema: bool = False
    tools: bool = True
    generic: bool = False


_OPENAI = (
    Family(r"gpt-6[\d.]*", 1_050_000, 128_000, READS, native_schema=True),
    Family(r"gpt-5[\d.]*-chat", 128_000, 16_384, SEES, native_schema=True),
    Family(r"gpt-5\.3-codex-spark", 128_000, 32_000, READS, native_schema=True),
    Family(r"gpt-5\.4-(mini|nano)", 400_000, 128_000, READS, native_schema=True),
    Family(r"gpt-5\.4-pro", 1_050_000, 128_000, READS),
    Family(r"gpt-5\.[456]", 1_050_000, 128_000, READS, native_schema=True),
    Family(r"gpt-5\.2-pro", 400_000, 128_000, READS),
    Family(r"gpt-5-pro", 400_000, 272_000, READS, native_schema=True),
    Family(r"gpt-5(\.[123])?", 400_000, 128_000, READS, native_schema=True),
    Family(r"gpt-4\.1", 1_047_576, 32_768, READS, native_schema=True),
    Family(r"gpt-4o-2024-05-13", 128_000, 4_096, READS),
    Family(r"gpt-4o", 128_000, 16_384, READS, native_schema=True),
    Family(r"chatgpt-4o", 128_000, 16_384, READS, tools=False),
    Family(r"gpt-4-turbo", 128_000, 4_096, SEES),
    Family(r"gpt-4", 8_192, 8_192, TEXT),
    Family(r"gpt-3\.5-turbo-instruct", 4_096, 4_096, TEXT, tools=False),
    Family(r"gpt-3\.5-turbo", 16_385, 4_096, TEXT),
    Family(r"gpt-oss", 131_072, 65_536, TEXT, native_schema=True),
    Family(r"o1-(mini|preview)", 128_000, 32_768, TEXT, tools=False),
    Family(r"o3-mini", 200_000, 100_000, TEXT, native_schema=True),
    Family(r"o[134](-pro|-mini)?", 200_000, 100_000, READS, native_schema=True),
)
_ANTHROPIC = (
    Family(r"claude-(opus|sonnet|haiku|fable|mythos)-[56]", 1_000_000, 128_000, READS, native_schema=True),
    Family(r"claude-(opus-4[-.][678]|sonnet-4[-.]6)", 1_000_000, 128_000, READS, native_schema=True),
    Family(r"claude-(opus|sonnet|haiku)-4[-.]5", 200_000, 64_000, READS, native_schema=True),
    Family(r"claude-(opus-4|4-opus)", 200_000, 32_000, READS),
    Family(r"claude-(sonnet-4|4-sonnet)", 200_000, 64_000, READS),
    Family(r"claude-3[-.]7", 200_000, 64_000, READS),
    Family(r"claude-3[-.]5", 200_000, 8_192, READS),
    Family(r"claude-3", 200_000, 4_096, SEES),
    Family(r"claude-[a-z0-9.-]+", 200_000, 32_000, READS, generic=True),
)
_GOOGLE = (
    Family(r"gemini-(2\.5|3[\d.]*)-(flash|pro)(-lite)?-(image|tts|live)", 32_768, 8_192, SEES, tools=False),
    Family(r"gemini-(2\.5|3[\d.]*|flash|pro)", 1_048_576, 65_536, SEES, native_schema=True),
    Family(r"gemini-(2\.0|1\.5)", 1_000_000, 8_192, SEES, native_schema=True),
    Family(r"gemini-[a-z0-9.-]+", 131_072, 8_192, SEES, generic=True),
    Family(r"gemma-?4", 262_144, 32_768, SEES, native_schema=True),
    Family(r"gemma-?3", 131_072, 8_192, SEES, tools=False),
)
_OPEN_WEIGHTS = (
    Family(r"llama-?4", 128_000, 4_096, SEES),
    Family(r"(meta-)?llama-?3[-.][123]", 128_000, 4_096, TEXT),
    Family(r"(meta-)?llama-?3", 8_192, 4_096, TEXT),
    Family(r"qwen3\.[5678]", 262_144, 65_536, SEES),
    Family(r"qwen-?3-coder", 262_144, 65_536, TEXT),
    Family(r"qwen-?3-vl|qwen-?3-omni", 65_536, 16_384, SEES),
    Family(r"qwen-?3-(max|next)|qwen-?3-\w+-2507", 131_072, 32_768, TEXT),
    Family(r"qwen-?3", 32_768, 8_192, TEXT),
    Family(r"qwen-?2[-.]5-?vl|qwen-vl|qvq", 32_768, 8_192, SEES),
    Family(r"qwen-(plus|flash|turbo)", 131_072, 16_384, TEXT),
    Family(r"qwen|qwq", 32_768, 8_192, TEXT),
    Family(r"deepseek-(chat|reasoner)", 128_000, 8_192, TEXT),
    Family(r"deepseek-v4", 1_000_000, 384_000, TEXT, native_schema=True),
    Family(r"deepseek", 64_000, 8_192, TEXT, generic=True),
    Family(r"kimi-k3", 1_048_576, 131_072, SEES, native_schema=True),
    Family(r"kimi-k2\.[567]", 262_144, 262_144, SEES, native_schema=True),
    Family(r"kimi-k2", 131_072, 16_384, TEXT),
    Family(r"glm-[45][\d.]*v", 64_000, 16_384, SEES),
    Family(r"glm-5", 200_000, 131_072, TEXT),
    Family(r"glm-4\.[67]", 200_000, 131_072, TEXT),
    Family(r"glm-4", 131_072, 98_304, TEXT),
    Family(r"minimax-m3", 1_000_000, 128_000, SEES),
    Family(r"minimax-m2", 196_608, 128_000, TEXT),
)
_OTHERS = (
    Family(r"grok-4\.(20|3)", 1_000_000, 30_000, SEES, native_schema=True),
    Family(r"grok-4[\d.]*", 256_000, None, SEES, native_schema=True),
    Family(r"grok", 131_072, None, TEXT, generic=True),
    Family(r"(mistral-(large|medium)-latest|mistral-large-2512|mistral-medium-(2508|2604))", 262_144, None, SEES),
    Family(r"mistral-small-(latest|2603)", 256_000, None, SEES),
    Family(r"pixtral|mistral-(small-2506|medium-2505)", 128_000, 16_384, SEES),
    Family(r"devstral|codestral|magistral|ministral|mistral-(nemo|large|small)", 128_000, 4_096, TEXT),
    Family(r"(open-)?mixtral-8x7b", 32_000, 32_000, TEXT),
)
FAMILIES = (*_OPENAI, *_ANTHROPIC, *_GOOGLE, *_OPEN_WEIGHTS, *_OTHERS)
"""The first that fits counts."""

_NOT_TEXT = re.compile(r"embed|whisper|moderation|gpt-image|dall-e|realtime|transcribe|-tts|-audio")


@lru_cache(maxsize=1024)
def family_of(bare: str) -> Family | None:
    """Return the family of a model by its bare name, lower case; None where none fits."""
    if _NOT_TEXT.search(bare):
        return None
    return next((family for family, pattern in _COMPILED if pattern.match(bare)), None)


_COMPILED = tuple((family, re.compile(rf"(?:{family.pattern})(?![a-z0-9]|\.\d)")) for family in FAMILIES)
