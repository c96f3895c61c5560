"""Estimates of tokens, without any model's tokenizer: from lengths, bytes and punctuation.

The weights are a fit to what models report for English, Chinese and program text (``benchmarks/estimator.py`` shows the
error that is left). The kernel calibrates them with each reply's reported usage, so what counts is that they err alike.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from power_loop.facts import jsontext
from power_loop.facts.messages import (
    AgentMessage,
    Block,
    CallSlot,
    Content,
    Document,
    Image,
    Reasoning,
    Text,
    to_message,
)

PER_MESSAGE = 4
"""Tokens that a message costs besides what it says."""
PER_IMAGE = 1_600
"""Tokens of a picture: what providers charge for about one megapixel."""
PER_DOCUMENT_BYTE = 0.02
"""Tokens per byte of a file, roughly: 2,000 for a page of 100 kB."""

_PER_CHARACTER = 0.22
_PER_MARK = 0.35
_PER_DIGIT = 0.6
_PER_EXTRA_BYTE = 0.5
_MARKS = "{}()[]<>=\"'`_:;,./\\-*#|+&$@!?\n"
_DIGITS = "0123456789"
_SAMPLED_ABOVE = 8_192
_SAMPLES = 8
_SAMPLE = 1_024


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens of a text; 0 for an empty one. Of a long text samples are looked at, in constant time."""
    length = len(text)
    if length <= _SAMPLED_ABOVE:
        return max(round(_weight(text)), 1) if length else 0
    stride = (length - _SAMPLE) // (_SAMPLES - 1)
    sampled = sum(_weight(text[at : at + _SAMPLE]) for at in range(0, stride * _SAMPLES, stride))
    return round(sampled * length / (_SAMPLES * _SAMPLE))


def estimate_message_tokens(message: AgentMessage | Mapping[str, Any]) -> int:
    """Estimate the tokens of a message or an OpenAI Chat dict, its calls included. Raises InvalidInputError."""
    message = to_message(message)
    tokens = PER_MESSAGE + _content_tokens(message.content)
    for call in message.tool_calls:
        tokens += PER_MESSAGE + estimate_text_tokens(call.name) + estimate_text_tokens(jsontext.encode(call.arguments))
    return tokens + (estimate_text_tokens(message.name) if message.name else 0)


def estimate_tokens(messages: Iterable[AgentMessage | Mapping[str, Any]]) -> int:
    """Estimate the tokens of messages together: AgentMessages or OpenAI Chat dicts. Raises InvalidInputError."""
    return sum(map(estimate_message_tokens, messages))


def _weight(text: str) -> float:
    extra = 0 if text.isascii() else len(text.encode(errors="replace")) - len(text)
    marks, digits = sum(map(text.count, _MARKS)), sum(map(text.count, _DIGITS))
    return len(text) * _PER_CHARACTER + marks * _PER_MARK + digits * _PER_DIGIT + extra * _PER_EXTRA_BYTE


def _content_tokens(content: Content) -> int:
    if isinstance(content, str):
        return estimate_text_tokens(content)
    return sum(map(_block_tokens, content))


def _block_tokens(block: Block) -> int:
    match block:
        case Text() | Reasoning():
            return estimate_text_tokens(block.text)
        case Image():
            return PER_IMAGE
        case Document():
            return PER_IMAGE + round(block.size * PER_DOCUMENT_BYTE)
        case CallSlot():
            return 0
