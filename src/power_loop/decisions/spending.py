"""What has been spent, and whether one more model call could pass a budget. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from power_loop.facts.entries import Budget, BudgetReached, BudgetScope, Limits, ModelCalled, ModelFailed
from power_loop.facts.usage import LLMTokenUsage, add_cost

if TYPE_CHECKING:
    from power_loop.decisions.state import State

UNSETTLED = frozenset({"cancelled", "llm_timeout", "llm_stalled", "llm_truncated", "llm_malformed"})
"""Failures after which the provider may charge for what it had said already; others cost nothing."""
SHORTEST_REPLY = 64
"""Tokens of reply that a budget must leave; with less there is no use in asking."""


class Tally(msgspec.Struct):
    """What model calls of one scope used: since the last input, or since the session began.

    ``cost`` is US dollars, None until a price is known. ``open_*`` is set aside for the call under way; ``lost_*`` was
    set aside for calls of which nobody knows what they cost, since their process died or their reply was cut off: it
    counts against budgets, not as usage. ``seconds`` is the time of runs, where a budget counts it.
    """

    usage: LLMTokenUsage = LLMTokenUsage()
    cost: Decimal | None = None
    open_tokens: int = 0
    open_cost: Decimal = Decimal(0)
    lost_tokens: int = 0
    lost_cost: Decimal = Decimal(0)
    seconds: float = 0.0

    def called(self, fact: ModelCalled) -> None:
        """Set aside what a call may cost."""
        self.open_tokens += fact.reserved_tokens
        self.open_cost += Decimal(fact.reserved or 0)

    def paid(self, usage: LLMTokenUsage, cost: str | None) -> None:
        """Take in what calls used, and release what was set aside for them."""
        self.usage += usage
        self.cost = add_cost(self.cost, cost)
        self.settled()

    def settled(self) -> None:
        """Release what was set aside."""
        if self.open_tokens or self.open_cost:
            self.open_tokens, self.open_cost = 0, Decimal(0)

    def lost(self) -> None:
        """Count what was set aside as spent: nobody knows."""
        self.lost_tokens += self.open_tokens
        self.lost_cost += self.open_cost
        self.settled()


class Spent(msgspec.Struct):
    """What was used since the session began, and since its last input."""

    total: Tally = msgspec.field(default_factory=Tally)
    since_input: Tally = msgspec.field(default_factory=Tally)

    def asked(self) -> None:
        """Begin anew with an input."""
        self.since_input = Tally()

    def called(self, fact: ModelCalled) -> None:
        """Set aside what a call may cost."""
        self.total.called(fact)
        self.since_input.called(fact)

    def paid(self, usage: LLMTokenUsage, cost: str | None) -> None:
        """Take in what calls used, and release what was set aside for them."""
        self.total.paid(usage, cost)
        self.since_input.paid(usage, cost)

    def failed(self, fact: ModelFailed) -> None:
        """Take in a call that failed."""
        if fact.unsettled or fact.code in UNSETTLED:
            self.lost()
        self.paid(fact.usage, fact.cost)

    def lost(self) -> None:
        """Count what was set aside as spent: nobody knows."""
        self.total.lost()
        self.since_input.lost()

    def took(self, milliseconds: int) -> None:
        """Count the time of a run."""
        self.total.seconds += milliseconds / 1000
        self.since_input.seconds += milliseconds / 1000

    def cut_off(self, limits: Limits, milliseconds: int) -> None:
        """Count the time of a run whose driver died by its entries; the wall clock is all there is to go by."""
        if counts_seconds(limits):
            self.took(max(milliseconds, 0))


class Allowance(NamedTuple):
    """What a model call may use: tokens of prompt and reply together, and US dollars; None is no bound."""

    tokens: int | None
    cost: Decimal | None


def allowance(state: "State", limits: Limits) -> Allowance:
    """Return what the budgets leave for the next call; never less than nothing."""
    tokens: list[int] = []
    cost: list[Decimal] = []
    for scope, budget in budgets(limits):
        spent_tokens, spent_cost, _ = spent(state, scope)
        if budget.tokens is not None:
            tokens.append(max(budget.tokens - spent_tokens, 0))
        if budget.cost is not None:
            cost.append(max(Decimal(budget.cost) - spent_cost, Decimal(0)))
    return Allowance(min(tokens, default=None), min(cost, default=None))


def spent(state: "State", scope: BudgetScope) -> tuple[int, Decimal, float]:
    """Return tokens, cost in US dollars and seconds that a scope has spent, unknown costs as they were set aside.

    What is set aside counts too: a compactor may make several calls before any of them is settled.
    """
    tally = state.spent.since_input if scope == "run" else state.spent.total
    return (
        tally.usage.total_tokens + tally.lost_tokens + tally.open_tokens,
        (tally.cost or Decimal(0)) + tally.lost_cost + tally.open_cost,
        tally.seconds,
    )


def reached(state: "State", limits: Limits, elapsed: float, tokens: int, cost: Decimal | None) -> BudgetReached | None:
    """Return the fact that a call of at least this size would pass a budget, or None.

    ``elapsed`` are the seconds of the run so far; ``cost`` None: prices are unknown.
    """
    for scope, budget in budgets(limits):
        spent_tokens, spent_cost, seconds = spent(state, scope)
        if budget.seconds is not None and seconds + elapsed >= budget.seconds:
            return BudgetReached(scope, "seconds", f"{budget.seconds:g}", f"{seconds + elapsed:.1f}")
        if budget.tokens is not None and spent_tokens + tokens > budget.tokens:
            return BudgetReached(scope, "tokens", str(budget.tokens), str(spent_tokens))
        if budget.cost is not None and spent_cost + (cost or Decimal(0)) > Decimal(budget.cost):
            return BudgetReached(scope, "cost", budget.cost, f"{spent_cost:f}")
    return None


def raised(fact: BudgetReached, limits: Limits) -> bool:
    """Tell whether the budget that was reached is higher now, or gone."""
    budget = dict(budgets(limits)).get(fact.scope)
    limit = None if budget is None else getattr(budget, fact.unit)
    return limit is None or Decimal(str(limit)) > Decimal(fact.limit)


def budgets(limits: Limits) -> Iterator[tuple[BudgetScope, Budget]]:
    """Iterate over the budgets there are. A tree of one session is that session."""
    if limits.run is not None:
        yield "run", limits.run
    if limits.session is not None:
        yield "session", limits.session
    if limits.tree is not None:
        yield "tree", limits.tree


def counts_seconds(limits: Limits) -> bool:
    """Tell whether a budget counts time."""
    return any(budget.seconds is not None for _, budget in budgets(limits))
