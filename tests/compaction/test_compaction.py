"""P5, P20, P21: older messages become a summary; the conversation stays valid, and nothing is lost."""

from itertools import pairwise

import pytest
from folding_world import QUICK, WINDOW, WORDS, Model, facts_of, folding_loop, kinds, look

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    HookDirective,
    HookPoint,
    LLMRateLimited,
    MemoryStore,
    StatefulAgentLoop,
)
from power_loop.decisions.replay import replay
from power_loop.engine.journal import load_state
from power_loop.facts.messages import MessageRole
from power_loop.ports.compactor import CompactionPlan
from power_loop.ports.llm import ignore_delta
from power_loop.ports.models import ModelInfo
from power_loop.prompt import Environment
from power_loop.testing import call, reply
from power_loop.toolkits.todo import todo_tool


async def test_a_long_conversation_is_folded_before_it_fills_the_window(store):
    model = Model()
    loop = folding_loop(model, store)
    session = await loop.new_session()
    for n in range(90):
        result = await loop.send(f"question {n}: {WORDS * 3}", session)
        assert result.status == "completed"
    folds = await facts_of(store, session, "compacted")
    assert len(folds) >= 2
    assert len(model.summaries) == len(folds)
    for fold in folds:
        assert fold.after_tokens < fold.before_tokens < WINDOW
        assert fold.summary.count("They talked about foxes.") == 1
    view = await loop.get_messages(session)
    assert sum("They talked about foxes." in message["content"] for message in view) == 1
    assert "They talked about foxes." in view[0]["content"], "one note per chain of folds, where the fold was"


async def test_one_long_run_is_folded_between_its_rounds(store):
    model = Model(rounds=40)
    loop = folding_loop(model, store)
    result = await loop.send("Look at everything, one by one.")
    assert result.status == "completed"
    folds = await facts_of(store, result.session_id, "compacted")
    assert len(folds) >= 2
    assert result.rounds == 41
    assert "Look at everything, one by one." in folds[-1].summary, "the request that is being worked on stays"
    assert max(len(request.messages) for request in model.requests) < 40


async def test_the_summary_sees_tools_and_their_arguments(store):
    model = Model(rounds=30)
    await folding_loop(model, store).send("Look at everything.")
    prompt = model.summaries[0].messages[0].text
    assert '[assistant calls] look({"n":29})' in prompt
    assert "[result of look]\nresult 29" in prompt


async def test_requests_between_two_folds_only_grow_at_the_end(store):
    model = Model(rounds=40)
    result = await folding_loop(model, store).send("Look at everything.")
    grown = shrunk = 0
    for before, after in pairwise(model.requests):
        if after.messages[: len(before.messages)] == before.messages:
            grown += 1
        else:
            shrunk += 1
            assert "They talked about foxes." in after.messages[0].text
    assert shrunk == len(await facts_of(store, result.session_id, "compacted"))
    assert grown > 20


async def test_nothing_is_deleted(store):
    model = Model(rounds=30)
    loop = folding_loop(model, store)
    result = await loop.send("Look at everything.")
    everything = await loop.get_messages(result.session_id, include_compacted=True)
    results = [message["content"].split(":")[0] for message in everything if message["role"] == "tool"]
    assert results == [f"result {n}" for n in range(29, -1, -1)]
    assert everything[0] == {"role": "user", "content": "Look at everything.", "compacted": True}
    view = await loop.get_messages(result.session_id)
    assert [message for message in everything if "compacted" not in message] == view


async def test_replay_starts_at_the_fold_and_comes_to_the_same(store):
    model = Model(rounds=30)
    loop = folding_loop(model, store)
    session = (await loop.send("Look at everything.")).session_id
    await loop.send("And again.", session)
    record, tail = await store.load(session)
    _, whole = await store.load(session, whole=True)
    assert len(tail) < len(whole)
    assert tail[0].kind == "compacted"
    from_the_fold = load_state(record, tail)
    from_the_start = replay(whole, base_seq=0, base_digest=record.base_digest)
    assert from_the_fold == from_the_start


async def test_cost_and_usage_of_summaries_are_counted(store):
    model = Model(rounds=30)
    loop = folding_loop(model, store)
    result = await loop.send("Look at everything.")
    folds = await facts_of(store, result.session_id, "compacted")
    assert result.cost * 1000 == 10 * result.rounds + len(folds)
    report = await loop.get_usage(result.session_id)
    assert report.cost == result.cost
    assert report.total == sum((item.usage for item in report.rounds[1:]), report.rounds[0].usage)
    assert len(report.rounds) == result.rounds + len(folds)


async def test_a_refused_context_is_folded_once_and_tried_again(store):
    model = Model(rounds=12, info=ModelInfo("small", 1_000_000), refuse_above=700)
    result = await folding_loop(model, store).send("Look at everything.")
    assert result.status == "completed"
    folds = await facts_of(store, result.session_id, "compacted")
    assert {fold.trigger for fold in folds} == {"context_too_long"}


async def test_a_context_that_is_refused_however_it_is_folded_ends_with_a_status(store):
    model = Model(rounds=12, info=ModelInfo("small", 1_000_000), refuse_above=20)
    loop = folding_loop(model, store)
    result = await loop.send("Look at everything." + WORDS)
    assert result.status == "context_full"
    assert result.final_text.startswith("[context_full:")
    assert len(model.summaries) <= 1
    model.refuse_above = None
    assert (await loop.resume(result.session_id)).status == "completed"


async def test_folding_that_buys_nothing_stops_with_a_status():
    class Hoarder:
        """Folds as little as it may, so that each fold buys one round."""

        def threshold(self, context_window, max_reply):
            return 300

        async def compact(self, request):
            cuts = [cut for cut in request.cuts if cut > (request.note or 0) + 1]
            return CompactionPlan(0, cuts[0], "x") if cuts else None

    store = MemoryStore()
    result = await folding_loop(Model(rounds=40), store, compactor=Hoarder()).send("Look at everything." + WORDS * 3)
    assert result.status == "context_full"
    assert 3 <= len(await facts_of(store, result.session_id, "compacted")) <= 5


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (CompactionPlan(0, 3, ""), "summary is empty"),
        (CompactionPlan(0, 2, "short"), "part a call from its result"),
        (CompactionPlan(3, 3, "short"), "no part of a view"),
        (CompactionPlan(0, 999, "short"), "no part of a view"),
        (CompactionPlan(None, "all", "short"), "whole numbers"),
        (CompactionPlan(0, 3, WORDS * 999), "not smaller"),
        ("nonsense", "returned str"),
    ],
)
async def test_a_plan_that_cannot_be_followed_is_recorded_and_loses_nothing(plan, reason):
    class Strange:
        def threshold(self, context_window, max_reply):
            return 200

        async def compact(self, request):
            return plan

    store = MemoryStore()
    loop = folding_loop(Model(rounds=6), store, compactor=Strange())
    result = await loop.send("Look at everything.")
    assert result.status == "completed"
    skipped = await facts_of(store, result.session_id, "compaction_skipped")
    assert (skipped[0].code, reason in skipped[0].reason) == ("invalid_plan", True)
    assert "compacted" not in await kinds(store, result.session_id)
    assert len(skipped) < 6, "not tried again before the context has grown"


async def test_a_compactor_that_raises_is_recorded_and_loses_nothing():
    class Broken:
        def threshold(self, context_window, max_reply):
            return 200

        async def compact(self, request):
            raise ZeroDivisionError("by \ud800 zero")

    store = MemoryStore()
    result = await folding_loop(Model(rounds=6), store, compactor=Broken()).send("Look at everything.")
    assert result.status == "completed"
    skipped = await facts_of(store, result.session_id, "compaction_skipped")
    assert skipped[0].code == "compaction_failed"
    assert "ZeroDivisionError" in skipped[0].reason


async def test_a_summary_that_fails_is_tried_again_and_then_skipped():
    failing = iter([LLMRateLimited("slow down"), LLMRateLimited("slow down"), LLMRateLimited("still")])
    model = Model(rounds=30, summary=lambda _request: next(failing, "They talked about foxes."))
    store = MemoryStore()
    result = await folding_loop(model, store).send("Look at everything.")
    assert result.status == "completed"
    failed = await facts_of(store, result.session_id, "model_failed")
    assert [(fact.purpose, fact.retry) for fact in failed] == [("summary", True), ("summary", True)]
    skipped = await facts_of(store, result.session_id, "compaction_skipped")
    assert [fact.code for fact in skipped] == ["llm_retry_exhausted"]
    assert await facts_of(store, result.session_id, "compacted"), "the third attempt came later, and worked"


async def test_a_summary_for_a_refused_context_is_tried_as_often_as_any_call_and_no_more():
    tried = []

    def failing(_request):
        tried.append(1)
        return LLMRateLimited("slow down") if len(tried) < 50 else "They talked about foxes."

    model = Model(rounds=12, summary=failing, info=ModelInfo("small", 1_000_000), refuse_above=700)
    result = await folding_loop(model, MemoryStore()).send("Look at everything.")
    assert result.status == "context_full"
    assert len(tried) == QUICK.max_attempts


async def test_an_empty_summary_is_a_failure_that_costs_what_it_cost():
    model = Model(rounds=20, summary="   ")
    store = MemoryStore()
    loop = folding_loop(model, store)
    result = await loop.send("Look at everything.")
    skipped = await facts_of(store, result.session_id, "compaction_skipped")
    assert {fact.code for fact in skipped} == {"compaction_failed"}
    assert result.cost * 1000 == 10 * result.rounds + len(skipped)


async def test_hooks_may_skip_a_compaction_and_hear_of_one():
    hooks, heard = AgentHooks(), []

    @hooks.on(HookPoint.COMPACT_BEFORE)
    async def before(ctx):
        heard.append("before")
        if heard.count("before") == 1:
            ctx.directive = HookDirective.SKIP

    @hooks.on(HookPoint.COMPACT_AFTER)
    async def after(ctx):
        heard.append((ctx.messages_before_count > ctx.messages_after_count, len(ctx.messages)))

    store, model = MemoryStore(), Model(rounds=20)
    config = AgentLoopConfig(max_tokens=200, max_rounds=60)
    loop = StatefulAgentLoop(llm=model, store=store, tools=[look], config=config, hooks=hooks)
    result = await loop.send("Look at everything.")
    assert [fact.code for fact in await facts_of(store, result.session_id, "compaction_skipped")] == ["hook_skip"]
    assert heard[:2] == ["before", "before"]
    assert heard[2][0] is True


async def test_without_a_compactor_a_refused_context_is_an_error():
    model = Model(rounds=12, refuse_above=300)
    result = await folding_loop(model, MemoryStore(), compactor=None).send("Look at everything.")
    assert (result.status, result.error.code) == ("error", "llm_context_too_long")


async def test_watchers_hear_of_it():
    store = MemoryStore()
    loop = folding_loop(Model(rounds=20), store)
    session = (await loop.send("Look at everything.")).session_id
    phases = [
        event.payload["phase"] async for event in loop.events(session) if event.payload.get("kind") == "auto_compact"
    ]
    assert phases == ["started", "completed"] * (len(phases) // 2) != []


async def test_the_newest_input_is_never_folded_unheard():
    class Greedy:
        def threshold(self, context_window, max_reply):
            return 50

        async def compact(self, request):
            assert len(request.messages) not in request.cuts or request.messages[-1].role is not MessageRole.USER
            return CompactionPlan(0, len(request.messages), "gone")

    store = MemoryStore()
    loop = folding_loop(Model(), store, compactor=Greedy())
    session = (await loop.send(WORDS * 9)).session_id
    await loop.send("And this?", session)
    assert [fact.code for fact in await facts_of(store, session, "compaction_skipped")] == ["invalid_plan"] * 2


async def test_todo_list_and_environment_stay_in_sight(store):
    lines = iter([reply("", call("todo", items=[{"text": "count the foxes", "status": "in_progress"}]))])
    model = Model(rounds=55)
    complete = model.complete

    async def first_the_list(request, *, on_delta=ignore_delta):
        return next(lines, None) or await complete(request, on_delta=on_delta)

    model.complete = first_the_list
    config = AgentLoopConfig(
        max_tokens=200, max_rounds=60, environment=lambda: Environment("2026-01-01", "Linux", "3.11", ".")
    )
    loop = StatefulAgentLoop(llm=model, store=store, tools=[look, todo_tool()], config=config)
    session = (await loop.send("Look at everything.")).session_id
    view = await loop.get_messages(session)
    assert "2026-01-01" in view[0]["content"]
    assert len(await facts_of(store, session, "compacted")) >= 2
    assert view[1]["content"].count("count the foxes") == 1
    assert view[1]["content"].count("Look at everything.") == 1
    assert "They talked about foxes." in view[1]["content"]
