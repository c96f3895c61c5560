"""P17: what may be spent is set aside before a call, settled after it, and durable."""

import threading
from decimal import Decimal

import pytest
from folding_world import Model, facts_of, folding_loop

from power_loop import ConfigError, LLMStalled, MemoryStore, StatefulAgentLoop
from power_loop.face.config import AgentLoopConfig
from power_loop.facts.entries import Budget
from power_loop.facts.tokens import estimate_tokens
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.models import ModelInfo, Prices
from power_loop.testing import FakeClock, ScriptedLLM, reply

PRICED = ModelInfo("priced", 100_000, known=True, prices=Prices(Decimal(10), Decimal(50)))


@pytest.mark.parametrize("scope", ["run_budget", "session_budget", "tree_budget"])
async def test_tokens_stop_at_a_step_boundary_and_go_on_with_more(store, scope):
    model = Model(rounds=8)
    result = await folding_loop(model, store, **{scope: Budget(tokens=1_500)}).send("Look at everything.")
    assert result.status == "budget_exceeded"
    assert 0 < result.usage.total_tokens <= 1_500
    made, head = len(model.requests), (await store.get(result.session_id)).head_seq
    again = await folding_loop(model, store, **{scope: Budget(tokens=1_500)}).resume(result.session_id)
    assert (again.status, len(model.requests)) == ("budget_exceeded", made), "the same budget: nothing to do"
    assert (await store.get(result.session_id)).head_seq == head
    more = await folding_loop(model, store, **{scope: Budget(tokens=100_000)}).resume(result.session_id)
    assert more.status == "completed"
    assert len(model.requests) == made + 9 - made


async def test_a_run_budget_begins_anew_with_an_input_and_a_session_budget_does_not(store):
    loop = folding_loop(Model(), store, run_budget=Budget(tokens=200), session_budget=Budget(tokens=420))
    session = await loop.new_session()
    statuses = [(await loop.send(f"question {n}", session)).status for n in range(9)]
    assert statuses[:3] == ["completed"] * 3
    assert statuses[-1] == "budget_exceeded"
    reached = await facts_of(store, session, "budget_reached")
    assert reached[0].scope == "session"


async def test_money_is_set_aside_before_the_call_and_settled_after_it(store):
    model = Model(rounds=2, info=PRICED)
    loop = folding_loop(model, store, run_budget=Budget(cost=Decimal("1.00")))
    result = await loop.send("Look.")
    called = await facts_of(store, result.session_id, "model_called")
    assert all(Decimal(fact.reserved) >= Decimal("0.01") for fact in called)
    assert sum(Decimal(fact.reserved) for fact in called) > result.cost == Decimal("0.03")


async def test_a_call_that_could_pass_the_budget_is_not_made(store):
    model = Model(rounds=9, info=PRICED)
    result = await folding_loop(model, store, session_budget=Budget(cost="0.045")).send("Look.")
    assert result.status == "budget_exceeded"
    assert Decimal("0.03") <= result.cost <= Decimal("0.045")
    assert "US dollars" in result.final_text


async def test_a_reply_is_capped_by_what_the_budget_leaves(store):
    model = Model(info=PRICED)
    await folding_loop(model, store, max_tokens=8_000, run_budget=Budget(cost="0.02")).send("Hello.")
    assert 64 <= model.requests[0].max_tokens < 400  # 0.02 USD at 50 USD per million tokens


async def test_a_reply_is_capped_by_the_tokens_that_are_left(store):
    model = Model()
    await folding_loop(model, store, max_tokens=8_000, run_budget=Budget(tokens=500)).send("Hello there. " * 50)
    prompt = estimate_tokens(model.requests[0].messages)
    assert prompt + model.requests[0].max_tokens <= 500


async def test_a_settled_call_counts_as_it_was_used(store):
    """Four calls are settled and one is not: what it set aside counts once, theirs not at all."""
    lines = [*[reply("fine", usage=LLMTokenUsage(100, 10), cost="0.001")] * 4, LLMStalled("silent"), "fine"]
    model = ScriptedLLM(*lines)
    model.describe = lambda _model=None: PRICED
    loop = folding_loop(model, store, max_tokens=200, session_budget=Budget(cost="0.035"))
    session = await loop.new_session()
    statuses = [(await loop.send(f"question {n}", session)).status for n in range(5)]
    assert statuses == ["completed"] * 5, "0.004 spent, 0.01 to 0.015 set aside for the lost call, the rest is left"


async def test_a_call_nobody_knows_the_end_of_counts_as_it_was_set_aside(store):
    model = ScriptedLLM(*[LLMStalled("silent")] * 50)
    model.describe = lambda _model=None: PRICED
    loop = folding_loop(model, store, session_budget=Budget(cost="0.05"))
    session = (await loop.send("Hello.")).session_id
    for _ in range(20):
        result = await loop.resume(session)
    assert result.status == "budget_exceeded"
    assert result.cost is None
    assert model.calls < 16


async def test_seconds_count_over_runs_and_processes(store):
    clock = FakeClock()

    def slow(_request):
        clock.advance(4)
        return reply("done")

    def loop():
        config = AgentLoopConfig(session_budget=Budget(seconds=10))
        return StatefulAgentLoop(llm=ScriptedLLM(*[slow] * 9), store=store, config=config, clock=clock)

    session = await loop().new_session()
    statuses = [(await loop().send("Go.", session)).status for _ in range(4)]
    assert statuses == ["completed", "completed", "completed", "budget_exceeded"]


async def test_a_jump_of_the_wall_clock_spends_nothing(store):
    clock = FakeClock()

    def jumping(_request):
        clock.jump(3_600)
        return reply("done")

    config = AgentLoopConfig(session_budget=Budget(seconds=10))
    loop = StatefulAgentLoop(llm=ScriptedLLM(jumping, "again"), store=store, config=config, clock=clock)
    session = (await loop.send("Go.")).session_id
    assert (await loop.send("Go on.", session)).status == "completed"


async def test_money_without_prices_is_refused_before_anything_is_written():
    store = MemoryStore()
    loop = StatefulAgentLoop(llm=ScriptedLLM("x"), store=store, config=AgentLoopConfig(run_budget=Budget(cost="1")))
    with pytest.raises(ConfigError, match="prices"):
        await loop.send("Hello.")
    assert await store.list() == []


@pytest.mark.parametrize("figures", [{"tokens": 0}, {"seconds": -1}, {"cost": "much"}, {"cost": "NaN"}, {"cost": 0}])
def test_a_budget_that_makes_no_sense_is_refused(figures):
    with pytest.raises(ConfigError):
        Budget(**figures)


@pytest.mark.parametrize("verb", ["send", "resume"])
async def test_a_model_is_described_first_in_a_thread(verb):
    """It may load data for a while, and leases must be renewed meanwhile."""
    threads = []

    class Slow(ScriptedLLM):
        def describe(self, _model=None):
            threads.append(threading.current_thread())
            return PRICED

    store = MemoryStore()
    session = await StatefulAgentLoop(llm=ScriptedLLM(), store=store).new_session()
    loop = StatefulAgentLoop(llm=Slow("Hello."), store=store)
    await (loop.send("Hi.", session) if verb == "send" else loop.resume(session))
    assert threads[0] is not threading.main_thread()
