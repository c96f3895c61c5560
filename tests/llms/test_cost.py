"""What calls cost: exact, with the cache's prices, never above what was reserved."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.cost import PriceStep, SteppedPrices, cost_of, cost_text, dearest, prices_at, reserve
from power_loop.ports.models import Prices

PLAIN = Prices(Decimal("0.25"), Decimal(2), Decimal("0.025"), Decimal("0.3125"))
LONG = Prices(Decimal("0.5"), Decimal(3), Decimal("0.05"), Decimal("0.625"))
STEPPED = SteppedPrices(PLAIN.input, PLAIN.output, PLAIN.cache_read, PLAIN.cache_write, (PriceStep(200_000, LONG),))

price = st.decimals(min_value=0, max_value=1000, places=6)
prices = st.builds(Prices, price, price, st.none() | price, st.none() | price)
tokens = st.integers(0, 10**12)
FAST = settings(max_examples=60, deadline=None)


@st.composite
def usages(draw):
    read, written, fresh, out = (draw(tokens) for _ in range(4))
    return LLMTokenUsage(read + written + fresh, out, read, written)


def test_cached_tokens_pay_the_cache_prices():
    usage = LLMTokenUsage(1_000_000, 100_000, cache_read_tokens=600_000, cache_write_tokens=300_000, reasoning_tokens=9)
    assert cost_of(usage, PLAIN) == Decimal("0.025") + Decimal("0.015") + Decimal("0.09375") + Decimal("0.2")


def test_a_cache_without_prices_pays_as_input():
    usage = LLMTokenUsage(1_000_000, 0, cache_read_tokens=400_000, cache_write_tokens=500_000)
    assert cost_of(usage, Prices(Decimal(3), Decimal(15))) == 3


def test_a_free_cache_is_free():
    assert cost_of(LLMTokenUsage(10, 0, cache_read_tokens=10), Prices(Decimal(3), Decimal(1), Decimal(0))) == 0


def test_more_cached_tokens_than_the_prompt_has_are_not_counted_twice():
    usage = LLMTokenUsage(100, 0, cache_read_tokens=80, cache_write_tokens=80)
    assert cost_of(usage, Prices(Decimal(1), Decimal(1), Decimal(0), Decimal(2))) == Decimal("0.00004")


def test_a_long_prompt_pays_the_long_price_for_every_token():
    assert cost_of(LLMTokenUsage(200_000, 1000), STEPPED) == Decimal("0.052")
    assert cost_of(LLMTokenUsage(200_001, 1000), STEPPED) == Decimal("0.1030005")


@FAST
@given(usages(), prices)
def test_costs_are_exact_whatever_the_hosts_decimal_context_is(usage, prices):
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    read = prices.input if prices.cache_read is None else prices.cache_read
    written = prices.input if prices.cache_write is None else prices.cache_write
    parts = (fresh, prices.input), (usage.cache_read_tokens, read), (usage.cache_write_tokens, written)
    due = sum(count * Fraction(rate) for count, rate in (*parts, (usage.output_tokens, prices.output)))
    with localcontext(prec=3):
        cost = cost_of(usage, prices)
        text = cost_text(usage, prices)
    assert Fraction(cost) == due / 1_000_000
    assert Fraction(text) == Fraction(cost)
    assert "E" not in text


@FAST
@given(usages(), prices, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_call_costs_more_than_was_reserved(usage, prices, more_input, more_output):
    bound = reserve(usage.input_tokens + more_input, usage.output_tokens + more_output, prices)
    assert cost_of(usage, prices) <= bound


@FAST
@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_nor_across_a_step_of_the_prices(input_tokens, read):
    usage = LLMTokenUsage(input_tokens, 500, cache_read_tokens=min(read, input_tokens))
    assert cost_of(usage, STEPPED) <= reserve(max(input_tokens, 200_001), 500, STEPPED)


@FAST
@given(usages(), prices, prices)
def test_the_dearest_of_several_prices_is_never_exceeded(usage, one, other):
    stepped = SteppedPrices(one.input, one.output, one.cache_read, one.cache_write, (PriceStep(1000, other),))
    bound = dearest([stepped, other, PLAIN])
    assert max(cost_of(usage, each) for each in (stepped, other, PLAIN)) <= cost_of(usage, bound)


def test_unknown_prices_stay_unknown():
    assert cost_text(LLMTokenUsage(1, 1), None) is None
    assert dearest([PLAIN, None]) is None
    assert dearest([]) is None


@pytest.mark.parametrize(("length", "expected"), [(0, "0.25"), (200_000, "0.25"), (200_001, "0.5")])
def test_prices_at_a_length(length, expected):
    assert prices_at(STEPPED, length).input == Decimal(expected)
