"""How large the context is: what the provider last reported, and an estimate of what was added since."""

from collections.abc import Sequence

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.entries import DefinitionChanged
from power_loop.facts.messages import AgentMessage, text_of
from power_loop.facts.tokens import PER_MESSAGE, estimate_message_tokens, estimate_text_tokens, estimate_tokens
from power_loop.facts.usage import LLMTokenUsage

_FACTORS = (0.5, 3.0)
"""Bounds of the calibration: beyond them the reported figure is not about this prompt."""
_MOST_PER_CHARACTER = 2
"""No text has more tokens than that; it spares the estimate where the context is far from full."""


class ContextSize(msgspec.Struct):
    """Tokens of the next request. Nothing is estimated before somebody asks, and no message twice.

    ``definition`` and ``estimated`` are estimates of the definition and of the first ``counted`` messages;
    ``reported`` is what the last reply's provider said of the first ``covered``, reply included, 0 if it said nothing;
    ``prompt`` what it said of the first ``asked_of`` alone. ``factor`` is what provider's tokens are to estimated ones.
    """

    definition: int = 0
    estimated: int = 0
    counted: int = 0
    reported: int = 0
    covered: int = 0
    prompt: int = 0
    asked_of: int = 0
    factor: float = 1.0

    def defined(self, fact: DefinitionChanged) -> None:
        """Take note of the definition."""
        self.definition = estimate_text_tokens(fact.system or "") + estimate_text_tokens(jsontext.encode(fact.tools))

    def asked(self, length: int) -> None:
        """Take note that a request with so many messages is made."""
        self.asked_of = length

    def replied(self, usage: LLMTokenUsage, length: int) -> None:
        """Take note of what the provider says of the request; ``length`` is the number of messages, reply included."""
        if not usage.input_tokens:
            return
        self.reported, self.covered = usage.input_tokens + usage.output_tokens, length
        self.prompt = usage.input_tokens

    def edited(self) -> None:
        """Take note that older messages are others now."""
        self.estimated = self.counted = self.reported = self.covered = self.prompt = self.asked_of = 0

    def tokens(self, messages: Sequence[AgentMessage]) -> int:
        """Estimate the tokens of a request with these messages."""
        if self.reported:
            self._calibrate(messages)
            return self.reported + round(self.factor * estimate_tokens(messages[self.covered :]))
        self._count(messages, len(messages))
        return round(self.factor * (self.definition + self.estimated))

    def _calibrate(self, messages: Sequence[AgentMessage]) -> None:
        """Compare what the provider reported last with the estimate of the same prompt."""
        if self.prompt:
            self._count(messages, self.asked_of)
            low, high = _FACTORS
            self.factor = min(max(self.prompt / max(self.definition + self.estimated, 1), low), high)
            self.prompt = 0

    def _count(self, messages: Sequence[AgentMessage], length: int) -> None:
        if length > self.counted:
            self.estimated += estimate_tokens(messages[self.counted : length])
            self.counted = length

    def reaches(self, limit: int, messages: Sequence[AgentMessage]) -> bool:
        """Tell whether a request with these messages has at least ``limit`` tokens."""
        if self.reported and self.reported + self.factor * _most(messages[self.covered :]) < limit:
            return False
        return self.tokens(messages) >= limit

    def of(self, message: AgentMessage) -> int:
        """Estimate a message in the provider's tokens."""
        return max(round(self.factor * estimate_message_tokens(message)), 1)


def _most(messages: Sequence[AgentMessage]) -> float:
    """Return a figure that no estimate of these messages exceeds; infinite for what has no length in characters."""
    most = 0.0
    for message in messages:
        if message.tool_calls or not isinstance(message.content, str):
            return float("inf")
        most += PER_MESSAGE + len(text_of(message.content)) * _MOST_PER_CHARACTER + len(message.name or "")
    return most
