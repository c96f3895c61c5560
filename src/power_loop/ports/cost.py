"""What a model call costs, and at most will cost, in US dollars: exact, never rounded, never a float."""

from collections.abc import Sequence
from decimal import Context, Decimal

import msgspec

from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.models import Prices

_EXACT = Context(prec=100)
"""Of its own, so that a host's decimal context of few digits does not round."""


class PriceStep(msgspec.Struct, frozen=True):
    """Prices of a whole call whose prompt has more than ``above`` tokens."""

    above: int
    prices: Prices


class SteppedPrices(Prices, frozen=True):
    """Prices that depend on the length of the prompt; ``steps`` ascend."""

    steps: tuple[PriceStep, ...] = ()


def prices_at(prices: Prices, input_tokens: int) -> Prices:
    """Return what a call with a prompt of that many tokens pays."""
    reached = prices
    for step in prices.steps if isinstance(prices, SteppedPrices) else ():
        if input_tokens > step.above:
            reached = step.prices
    return reached


def cost_of(usage: LLMTokenUsage, prices: Prices) -> Decimal:
    """Return the cost of a call.

    Tokens read from or written to the provider's cache pay those prices, the rest of the prompt the input price.
    More cached tokens than the prompt has are not counted twice.
    """
    due = prices_at(prices, usage.input_tokens)
    read = min(usage.cache_read_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - read)
    return _sum(
        (usage.input_tokens - read - written, due.input),
        (read, _or_input(due.cache_read, due)),
        (written, _or_input(due.cache_write, due)),
        (usage.output_tokens, due.output),
    )


def reserve(estimated_input_tokens: int, max_output: int, prices: Prices) -> Decimal:
    """Return the most that a call of this size can cost, whatever its cache does and however short it turns out."""
    return max(
        _sum((estimated_input_tokens, _dearest_input(due)), (max_output, due.output))
        for due in _reached(prices, estimated_input_tokens)
    )


def cost_text(usage: LLMTokenUsage, prices: Prices | None) -> str | None:
    """Return the cost as ``LLMResponse.cost`` has it: plain decimal digits; None where prices are unknown."""
    return None if prices is None else f"{cost_of(usage, prices).normalize(_EXACT):f}"


def dearest(all_prices: Sequence[Prices | None]) -> Prices | None:
    """Return prices that none of these exceeds at any length of prompt; None where one is unknown."""
    known = [prices for prices in all_prices if prices is not None]
    if not known or len(known) < len(all_prices):
        return None
    bounds = {step.above for prices in known if isinstance(prices, SteppedPrices) for step in prices.steps}
    base = _highest([prices_at(prices, 0) for prices in known])
    steps = tuple(
        PriceStep(bound, _highest([prices_at(prices, bound + 1) for prices in known])) for bound in sorted(bounds)
    )
    if not steps:
        return base
    return SteppedPrices(base.input, base.output, base.cache_read, base.cache_write, steps)


def _highest(all_prices: Sequence[Prices]) -> Prices:
    return Prices(
        max(prices.input for prices in all_prices),
        max(prices.output for prices in all_prices),
        max(_or_input(prices.cache_read, prices) for prices in all_prices),
        max(_or_input(prices.cache_write, prices) for prices in all_prices),
    )


def _reached(prices: Prices, input_tokens: int) -> list[Prices]:
    steps = prices.steps if isinstance(prices, SteppedPrices) else ()
    return [prices, *(step.prices for step in steps if input_tokens > step.above)]


def _dearest_input(prices: Prices) -> Decimal:
    return max(prices.input, _or_input(prices.cache_read, prices), _or_input(prices.cache_write, prices))


def _or_input(price: Decimal | None, prices: Prices) -> Decimal:
    return prices.input if price is None else price


def _sum(*parts: tuple[int, Decimal]) -> Decimal:
    total = Decimal(0)
    for tokens, price in parts:
        total = _EXACT.add(total, _EXACT.multiply(Decimal(tokens), price))
    return _EXACT.scaleb(total, -6)
