"""Sixteen points, four directives; every change is a fact; nothing is skipped on resume."""

import asyncio

import pytest
from left_behind import asks, begun, leave

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    AgentMessage,
    ConfigError,
    HookDirective,
    HookPoint,
    LLMResponse,
    MessageRole,
    ReplyCall,
    StatefulAgentLoop,
    tool,
)
from power_loop.facts.entries import ModelReplied, ToolStarted
from power_loop.testing import ScriptedLLM, call, reply

BREAK, SKIP, SHORT = HookDirective.BREAK, HookDirective.SKIP, HookDirective.SHORT_CIRCUIT


@pytest.fixture
def hooks():
    return AgentHooks()


@pytest.fixture
def make(store, hooks):
    def made(*lines, **config):
        runs = []

        @tool
        async def act(n: int) -> str:
            """Act."""
            runs.append(n)
            if n == 13:
                raise ValueError("unlucky")
            return f"acted {n}"

        loop = StatefulAgentLoop(
            llm=ScriptedLLM(*lines), store=store, tools=[act], hooks=hooks, config=AgentLoopConfig(**config)
        )
        loop.runs = runs
        return loop

    return made


def kinds_of(entries):
    return [entry.kind for entry in entries]


async def texts(loop, session):
    return [m["content"] for m in await loop.get_messages(session)]


async def test_the_points_of_a_run_come_in_order(make, hooks):
    heard = []
    for point in HookPoint:
        hooks.register(point, lambda ctx: heard.append(str(ctx.point)))
    loop = make(reply("", call("act", n=1)), "done")
    await loop.send("go")
    assert heard == [
        "message.append", "session.start", "round.start", "llm.before", "llm.after", "message.append",
        "round.decide", "tools.batch.before", "tool.before", "tool.after", "message.append", "tools.batch.after",
        "round.end", "round.start", "llm.before", "llm.after", "message.append", "round.end", "session.end",
    ]  # fmt: skip


async def test_the_first_directive_ends_the_chain_and_order_decides_who_is_first(hooks, make):
    heard = []
    hooks.register("round.start", lambda _ctx: heard.append("late"), order=5)

    @hooks.on(HookPoint.ROUND_START, order=1)
    async def first(_ctx):
        heard.append("first")
        return BREAK

    result = await make("never").send("go")
    assert (heard, result.status) == (["first"], "hook_break")
    assert hooks.unregister("round.start", first)
    assert not hooks.unregister("round.start", first)


async def test_session_start_may_edit_the_view_and_the_edit_is_recorded(make, hooks, store):
    def redact(ctx):
        ctx.messages = [AgentMessage(MessageRole.USER, "redacted")]

    hooks.register("session.start", redact)
    loop = make("ok")
    session = (await loop.send("secret")).session_id
    assert await texts(loop, session) == ["redacted", "ok"]
    assert "view_edited" in kinds_of(await store.read(session))
    assert loop.llm.requests[0].messages[0].text == "redacted"


async def test_an_edit_that_breaks_the_conversation_is_refused_and_the_session_goes_on(make, hooks):
    hooks.register(
        "round.start", lambda ctx: ctx.messages.append({"role": "tool", "content": "x", "tool_call_id": "1"})
    )
    loop = make("fine")
    result = await loop.send("go")
    assert (result.status, result.error.code) == ("error", "hook_failed")
    hooks.clear()
    assert (await loop.resume(result.session_id)).final_text == "fine"


async def test_round_start_skip_uses_up_a_round(make, hooks, store):
    skips = iter([SKIP])
    hooks.register("round.start", lambda _ctx: next(skips, None))
    loop = make("after")
    result = await loop.send("go")
    assert result.rounds == 2
    assert "round_skipped" in kinds_of(await store.read(result.session_id))


async def test_skipping_for_ever_ends_at_the_round_limit(make, hooks):
    hooks.register("round.start", lambda _ctx: SKIP)
    assert (await make("last word", max_rounds=3).send("go")).status == "hit_round_limit"


async def test_llm_before_edits_one_request_only(make, hooks, store):
    def edit(ctx):
        ctx.system_prompt = "be brief"
        ctx.temperature = 0.5

    hooks.register("llm.before", edit)
    loop = make("a", "b")
    session = (await loop.send("1")).session_id
    assert (loop.llm.requests[0].system_prompt, loop.llm.requests[0].temperature) == ("be brief", 0.5)
    called = next(e.fact for e in await store.read(session) if e.kind == "model_called")
    assert set(called.edited) == {"system_prompt", "temperature"}
    hooks.clear()
    await loop.send("2", session)
    assert loop.llm.requests[1].system_prompt is None


async def test_llm_before_may_answer_itself(make, hooks):
    def answer(ctx):
        ctx.output = LLMResponse("from the cache")
        return SHORT

    hooks.register("llm.before", answer)
    loop = make()
    assert (await loop.send("go")).final_text == "from the cache"
    assert loop.llm.calls == 0


async def test_llm_before_break_ends_the_run(make, hooks):
    hooks.register("llm.before", lambda _ctx: BREAK)
    loop = make()
    result = await loop.send("go")
    assert (result.status, loop.llm.calls) == ("hook_break", 0)


async def test_llm_after_replaces_the_reply_as_a_second_fact(make, hooks, store):
    def rewrite(ctx):
        ctx.output = LLMResponse("polite", ctx.output.tool_calls)

    hooks.register("llm.after", rewrite)
    loop = make("rude")
    session = (await loop.send("go")).session_id
    assert await texts(loop, session) == ["go", "polite"]
    assert [e.fact.content for e in await store.read(session) if isinstance(e.fact, ModelReplied)] == ["rude"]


async def test_llm_after_may_add_a_call(make, hooks):
    def add(ctx):
        if not ctx.output.tool_calls and ctx.output.text == "first":
            ctx.output = LLMResponse("first", (ReplyCall("", "act", '{"n":7}'),))

    hooks.register("llm.after", add)
    loop = make("first", "second")
    assert (await loop.send("go")).final_text == "second"
    assert loop.runs == [7]


async def test_llm_after_break_drops_the_calls(make, hooks):
    hooks.register("llm.after", lambda _ctx: BREAK)
    loop = make(reply("let me act", call("act", n=1)))
    result = await loop.send("go")
    assert (result.status, result.final_text, loop.runs) == ("hook_break", "let me act", [])
    assert await loop.get_pending(result.session_id) is None


@pytest.mark.parametrize("point", ["round.decide", "tools.batch.before"])
async def test_a_batch_can_be_answered_by_a_hook(make, hooks, point):
    def answer(ctx):
        ctx.output = "not today"
        return SKIP

    hooks.register(point, answer)
    loop = make(reply("", call("act", n=1), call("act", n=2)), "ok then")
    session = (await loop.send("go")).session_id
    assert await texts(loop, session) == ["go", "", "not today", "not today", "ok then"]
    assert loop.runs == []


async def test_round_decide_break_answers_the_calls_and_ends(make, hooks):
    hooks.register("round.decide", lambda _ctx: BREAK)
    loop = make(reply("", call("act", n=1)), "next time")
    result = await loop.send("go")
    assert (result.status, result.pending_tool_calls, loop.runs) == ("hook_break", [], [])
    hooks.clear()
    assert (await loop.send("again", result.session_id)).final_text == "next time"


async def test_tool_before_may_change_arguments_and_the_change_is_recorded(make, hooks, store):
    def change(ctx):
        ctx.tool_args["n"] = 99

    hooks.register("tool.before", change)
    loop = make(reply("", call("act", n=1)), "done")
    session = (await loop.send("go")).session_id
    assert loop.runs == [99]
    started = next(e.fact for e in await store.read(session) if isinstance(e.fact, ToolStarted))
    assert started.arguments == {"n": 99}


async def test_tool_before_may_answer_one_call(make, hooks):
    hooks.register("tool.before", lambda ctx: SKIP if ctx.tool_args["n"] == 1 else None)
    loop = make(reply("", call("act", n=1), call("act", n=2)), "done")
    session = (await loop.send("go")).session_id
    assert loop.runs == [2]
    assert (await texts(loop, session))[2:4] == ["[skipped by hook]", "acted 2"]


async def test_tool_after_may_change_a_result(make, hooks):
    def change(ctx):
        ctx.output = ctx.output.upper()

    hooks.register("tool.after", change)
    loop = make(reply("", call("act", n=1)), "done")
    session = (await loop.send("go")).session_id
    assert (await texts(loop, session))[2] == "ACTED 1"
    assert loop.llm.requests[1].messages[2].text == "ACTED 1"


async def test_tool_after_break_answers_the_rest_and_ends(make, hooks):
    hooks.register("tool.after", lambda _ctx: BREAK)
    loop = make(reply("", call("act", n=1), call("act", n=2)), max_parallel_tools=1)
    result = await loop.send("go")
    assert (result.status, loop.runs) == ("hook_break", [1])
    contents = (await texts(loop, result.session_id))[2:]
    assert contents[0] == "acted 1"
    assert "not run" in contents[1]


async def test_tool_error_may_excuse_or_try_again(make, hooks):
    def excuse(ctx):
        ctx.output = f"excused: {ctx.error_message}"
        return SKIP

    hooks.register("tool.error", excuse)
    loop = make(reply("", call("act", n=13)), "done")
    session = (await loop.send("go")).session_id
    assert (await texts(loop, session))[2] == "excused: ValueError: unlucky"
    hooks.clear()
    hooks.register("tool.error", lambda _ctx: SHORT)
    again = make(reply("", call("act", n=13)), "done")
    await again.send("go")
    assert again.runs == [13, 13]


async def test_message_append_changes_inputs_before_they_are_written(make, hooks, store):
    def mask(ctx):
        if ctx.message.role is MessageRole.USER:
            ctx.message = AgentMessage(MessageRole.USER, ctx.message.text.replace("4711", "****"))

    hooks.register("message.append", mask)
    loop = make("ok")
    session = (await loop.send("my pin is 4711")).session_id
    assert all("4711" not in entry.body for entry in await store.read(session))


@pytest.mark.parametrize(
    "point",
    ["session.start", "round.start", "llm.before", "llm.after", "round.decide", "tools.batch.before", "tool.before",
     "tool.after", "tools.batch.after", "round.end", "session.end"],
)  # fmt: skip
async def test_a_hook_that_raises_ends_the_run_and_the_session_goes_on(make, hooks, point):
    def bad(_ctx):
        raise RuntimeError("bug in the host")

    hooks.register(point, bad)
    loop = make(reply("", call("act", n=1)), "done", "done")
    result = await loop.send("go")
    assert (result.status, result.error.code) == ("error", "hook_failed")
    assert "bug in the host" in result.error.message
    hooks.clear()
    after = await loop.send("again", result.session_id)
    assert after.status == "completed"


async def test_a_directive_that_a_point_cannot_honour_is_an_error(make, hooks):
    hooks.register("round.end", lambda _ctx: SKIP)
    result = await make("x").send("go")
    assert result.error.code == "hook_failed"
    assert "round.end" in result.error.message


def test_an_unknown_point_is_refused(hooks):
    with pytest.raises(ConfigError, match=r"session\.start"):
        hooks.register("before.everything", print)


async def test_hooks_run_on_resume_too(make, hooks, store):
    heard = []
    for point in HookPoint:
        hooks.register(point, lambda ctx: heard.append(str(ctx.point)))
    await leave(store, "s", *begun("act"), asks(("act", {"n": 1})))
    loop = make("done")
    assert (await loop.resume("s")).final_text == "done"
    assert heard[:2] == ["session.start", "llm.after"]
    for point in ("round.decide", "tools.batch.before", "tool.before", "tool.after", "session.end"):
        assert point in heard


async def test_a_started_call_does_not_pass_tool_before_again(make, hooks, store):
    heard = []
    hooks.register("tool.before", lambda _ctx: heard.append("before"))
    started = ToolStarted("call_5_0", "act", "idempotent", 1, "key", {"n": 5})
    await leave(store, "s", *begun("act"), asks(("act", {"n": 1})), started)
    loop = make("done")
    await loop.resume("s")
    assert (heard, loop.runs) == ([], [5])


async def test_what_is_recorded_is_durable_before_a_hook_waits(make, hooks, store):
    seen = []

    async def look(_ctx):
        await asyncio.sleep(0)
        seen.append(kinds_of(await store.read("s"))[-1])

    for point in ("llm.before", "llm.after", "tool.before", "tool.after"):
        hooks.register(point, look)
    loop = make(reply("", call("act", n=1)), "done")
    await loop.new_session("s")
    await loop.send("go", "s")
    assert seen == [
        "definition_changed", "model_replied", "model_replied", "tool_finished", "tool_finished", "model_replied",
    ]  # fmt: skip
