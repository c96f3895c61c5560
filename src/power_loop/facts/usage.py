"""Token figures as providers report them."""

from decimal import Decimal

import msgspec


class LLMTokenUsage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Tokens of one model call, or a sum of calls.

    ``input_tokens`` counts the whole prompt, cached parts included; ``output_tokens`` includes reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input plus output tokens."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "LLMTokenUsage") -> "LLMTokenUsage":
        """Sum two figures field by field."""
        return LLMTokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    def as_dict(self) -> dict[str, int]:
        """Return the figures, total included, as plain data."""
        return msgspec.structs.asdict(self) | {"total_tokens": self.total_tokens}


def add_cost(total: Decimal | None, cost: str | None) -> Decimal | None:
    """Add a recorded cost in USD; None stays None until a price is known."""
    if cost is None:
        return total
    return (total or Decimal(0)) + Decimal(cost)
