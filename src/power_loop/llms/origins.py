"""Whose reasoning is whose: what a provider signed or encrypted is good where it was made, and refused elsewhere."""

import re
from urllib.parse import urlsplit

import msgspec

from power_loop.facts.messages import Reasoning
from power_loop.ports.llm import LLMResponse

_CLAUDE: re.Pattern[str] = re.compile(r"(?:.+\.)?(?:anthropic|amazonaws|googleapis)\.com")
"""Hosts that take each other's signatures, as Anthropic documents of its extended thinking: its own API and the cloud
platforms that serve its models."""


def place_of(base_url: str) -> str:
    """Return a short name of who answers at a URL: its host and port, without credentials."""
    parts = urlsplit(base_url)
    if _CLAUDE.fullmatch(parts.hostname or ""):
        return "anthropic"
    return parts.netloc.rpartition("@")[2].lower()


def marked(response: LLMResponse, place: str) -> LLMResponse:
    """Return a reply whose reasoning names, behind its wire format, the place it comes from."""
    content = response.content
    if isinstance(content, str) or not any(isinstance(block, Reasoning) and block.origin for block in content):
        return response
    named = tuple(
        msgspec.structs.replace(block, origin=f"{block.origin}@{place}")
        if isinstance(block, Reasoning) and block.origin
        else block
        for block in content
    )
    return msgspec.structs.replace(response, content=named)


def made_here(block: Reasoning, wire: str, place: str) -> bool:
    """Tell whether a provider can take its reasoning back; one that names no place is taken for its wire's."""
    origin, _, where = block.origin.partition("@")
    return origin == wire and where in {"", place}
