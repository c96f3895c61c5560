"""Budgets at a model call: what is set aside for it, and whether it may be made."""

from decimal import Decimal
from typing import NamedTuple

from power_loop.decisions.spending import SHORTEST_REPLY, Allowance, allowance, budgets, reached
from power_loop.engine.run import Run
from power_loop.facts.entries import BudgetReached
from power_loop.ports.cost import prices_at, reserve
from power_loop.ports.models import Prices

_MILLION = 1_000_000


class Reservation(NamedTuple):
    """What a call may use: ``max_tokens`` caps its reply; tokens and US dollars are set aside for it."""

    max_tokens: int | None
    tokens: int = 0
    cost: str | None = None


def reservation(run: Run, prompt_tokens: int, max_tokens: int | None) -> Reservation | BudgetReached:
    """Return what to set aside for a call with a prompt of that size, or the budget that forbids it.

    Where a budget leaves less than the reply's cap, the cap is lowered to what it leaves.
    """
    limits, model = run.limits.recorded, run.services.model
    prices = None if model is None else model.prices
    if prices is None and not any(budgets(limits)):
        return Reservation(max_tokens)
    least = None if prices is None else reserve(prompt_tokens, SHORTEST_REPLY, prices)
    stop = reached(run.state, limits, run.elapsed(), prompt_tokens + SHORTEST_REPLY, least)
    if stop is not None:
        return stop
    left = allowance(run.state, limits)
    cap = _cap(max_tokens, None if model is None else model.max_output, prompt_tokens, left, prices)
    cost = None if prices is None or cap is None else f"{reserve(prompt_tokens, cap, prices):f}"
    return Reservation(cap, prompt_tokens + (cap or 0) if left.tokens is not None else 0, cost)


def _cap(
    wanted: int | None, largest: int | None, prompt_tokens: int, left: Allowance, prices: Prices | None
) -> int | None:
    """Return the longest reply that is wanted, possible and allowed; None where nothing bounds it."""
    caps = [cap for cap in (wanted, largest if wanted is None else None) if cap is not None]
    if left.tokens is not None:
        caps.append(left.tokens - prompt_tokens)
    if left.cost is not None and prices is not None:
        output = prices_at(prices, prompt_tokens).output
        if output:
            caps.append(int((left.cost - reserve(prompt_tokens, 0, prices)) * _MILLION / Decimal(output)))
    return max(min(caps), 1) if caps else None
