"""The rows of the verb table, on every store."""

import asyncio

import pytest
from left_behind import asks, begun, leave

from power_loop import (
    AgentLoopConfig,
    ConfigError,
    InvalidInputError,
    LLMRateLimited,
    LLMRetryPolicy,
    SessionBusy,
    SessionExistsError,
    SessionNotFoundError,
    SessionPendingError,
    StatefulAgentLoop,
    ToolDefinition,
    ToolRegistry,
    tool,
)
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import (
    InputReceived,
    Limits,
    ModelReplied,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from power_loop.facts.jsontext import encode
from power_loop.ports.store import Append, Claim
from power_loop.testing import ScriptedLLM, call, reply

QUICK = LLMRetryPolicy(max_attempts=2, backoff_initial=0, backoff_max=0)


class Counted:
    """Tools that count how often they really run."""

    def __init__(self):
        self.runs: list[str] = []

    def tools(self):
        @tool(effect="read")
        async def look(n: int) -> str:
            """Look."""
            self.runs.append(f"look {n}")
            return f"saw {n}"

        @tool
        def pay(n: int) -> str:
            """Pay."""
            self.runs.append(f"pay {n}")
            return f"paid {n}"

        return [look, pay]


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def make(store, counted):
    def made(*lines, config=None, tools=None, **options):
        llm = ScriptedLLM(*lines)
        config = config or AgentLoopConfig(retry_policy=QUICK)
        return StatefulAgentLoop(
            llm=llm, store=store, tools=counted.tools() if tools is None else tools, config=config, **options
        )

    return made


async def roles(loop, session_id):
    return [message["role"] for message in await loop.get_messages(session_id)]


# -- new


async def test_a_new_session_is_empty_and_takes_a_first_message(make):
    loop = make("hello")
    session = await loop.new_session(metadata={"user": "ann"})
    assert (await loop.resume(session)).status == "empty"
    assert await loop.abort_pending(session) == 0
    assert (await loop.list_sessions())[0].status == "empty"
    result = await loop.send("hi", session)
    assert (result.status, result.final_text, result.rounds) == ("completed", "hello", 1)
    assert (await loop.list_sessions())[0].metadata == {"user": "ann"}


async def test_an_id_of_ones_own_can_be_used_once(make):
    loop = make("hello")
    assert await loop.new_session("my-chat") == "my-chat"
    with pytest.raises(SessionExistsError):
        await loop.new_session("my-chat")


async def test_a_conversation_goes_on(make):
    loop = make("one", "two")
    first = await loop.send("a")
    second = await loop.send("b", first.session_id)
    assert second.final_text == "two"
    assert await roles(loop, first.session_id) == ["user", "assistant", "user", "assistant"]


async def test_tools_run_and_their_results_reach_the_model(make, counted):
    loop = make(reply("", call("look", n=1), call("pay", n=2)), "done")
    result = await loop.send("go")
    assert (result.final_text, result.rounds) == ("done", 2)
    assert sorted(counted.runs) == ["look 1", "pay 2"]
    assert [m.text for m in loop.llm.requests[1].messages[2:]] == ["saw 1", "paid 2"]


# -- ended


async def test_completed_resumes_to_its_last_result(make):
    loop = make("hello")
    sent = await loop.send("hi")
    assert await loop.resume(sent.session_id) == sent
    assert loop.llm.calls == 1
    assert await loop.abort_pending(sent.session_id) == 0


async def test_the_round_limit_gives_a_last_word_and_reopens_with_more(make, store, counted):
    loop = make(reply("", call("look", n=1)), "so far: 1", config=AgentLoopConfig(max_rounds=1, retry_policy=QUICK))
    result = await loop.send("go")
    assert (result.status, result.final_text) == ("hit_round_limit", "[hit_round_limit]\nso far: 1")
    last = loop.llm.requests[-1]
    assert last.tool_choice == "none"
    assert [t.name for t in last.tools] == ["look", "pay"]
    assert (await loop.resume(result.session_id)).status == "hit_round_limit"
    assert loop.llm.calls == 2
    more = make(reply("", call("look", n=2)), "all: 2", config=AgentLoopConfig(max_rounds=9, retry_policy=QUICK))
    assert (await more.resume(result.session_id)).final_text == "all: 2"
    assert counted.runs == ["look 1", "look 2"]


async def test_a_degraded_answer_is_continued_by_resume(make):
    loop = make(LLMRateLimited("slow down"), LLMRateLimited("slow down"), "at last")
    result = await loop.send("hi")
    assert result.status == "degraded"
    assert result.final_text.startswith("[degraded: LLM retry_exhausted")
    assert result.error.code == "llm_retry_exhausted"
    assert (await loop.list_sessions())[0].waiting_for
    again = await loop.resume(result.session_id)
    assert (again.status, again.final_text) == ("completed", "at last")
    assert await roles(loop, result.session_id) == ["user", "assistant"]


async def test_send_after_a_degraded_answer_starts_a_run_over_both_inputs(make):
    loop = make(LLMRateLimited("slow"), LLMRateLimited("slow"), "both")
    result = await loop.send("first")
    await loop.send("second", result.session_id)
    assert await roles(loop, result.session_id) == ["user", "user", "assistant"]


async def test_an_error_that_no_retry_helps_ends_as_error(make):
    loop = make(ValueError("boom"), ValueError("boom"), "fine")
    result = await loop.send("hi")
    assert result.status == "degraded"
    assert "boom" in result.final_text
    assert (await loop.resume(result.session_id)).final_text == "fine"


# -- cut off


async def test_cut_off_before_the_reply_resume_calls_the_model(make, store):
    loop = make("answer")
    await leave(store, "s", *begun())
    assert (await loop.list_sessions())[0].status == "cut_off"
    assert (await loop.resume("s")).final_text == "answer"


async def test_cut_off_before_the_reply_send_appends_to_the_unanswered_input(make, store):
    loop = make("answer")
    await leave(store, "s", *begun())
    assert (await loop.send("and this", "s")).final_text == "answer"
    assert await roles(loop, "s") == ["user", "user", "assistant"]


async def test_cut_off_with_only_the_end_missing_is_simply_ended(make, store):
    loop = make()
    await leave(store, "s", *begun(), ModelReplied("said already"))
    result = await loop.resume("s")
    assert (result.status, result.final_text) == ("completed", "said already")
    assert loop.llm.calls == 0


async def test_cut_off_with_results_but_no_reply_calls_the_model(make, store, counted):
    loop = make("answer")
    await leave(store, "s", *begun("look"), asks(("look", {"n": 1})), ToolFinished("call_5_0", "look", content="saw 1"))
    assert (await loop.resume("s")).final_text == "answer"
    assert counted.runs == []


OPEN = [*begun("look", "pay"), asks(("look", {"n": 1}), ("pay", {"n": 2}))]


async def test_open_calls_refuse_send_and_name_the_calls(make, store):
    loop = make()
    await leave(store, "s", *OPEN)
    with pytest.raises(SessionPendingError) as caught:
        await loop.send("hi", "s")
    assert [c.name for c in caught.value.pending_tool_calls] == ["look", "pay"]
    assert (await loop.get_pending("s"))["tool_call_ids"] == ["w0", "w1"]
    assert await roles(loop, "s") == ["user", "assistant"]


async def test_open_calls_that_never_started_are_run_by_resume(make, store, counted):
    loop = make("done")
    await leave(store, "s", *OPEN)
    assert (await loop.resume("s")).final_text == "done"
    assert sorted(counted.runs) == ["look 1", "pay 2"]


async def test_calls_in_doubt_follow_their_effect(make, store, counted):
    loop = make("done")
    started = [ToolStarted("call_5_0", "look", "read", 1, "k0"), ToolStarted("call_5_1", "pay", "once", 1, "k1")]
    await leave(store, "s", *OPEN, *started)
    await loop.resume("s")
    assert counted.runs == ["look 1"]
    results = [m["content"] for m in await loop.get_messages("s") if m["role"] == "tool"]
    assert results[0] == "saw 1"
    assert "unknown" in results[1]


async def test_a_finished_sibling_is_never_run_again(make, store, counted):
    loop = make("done")
    await leave(store, "s", *OPEN, ToolFinished("call_5_1", "pay", content="paid 2"))
    await loop.resume("s")
    assert counted.runs == ["look 1"]


async def test_send_can_resume_or_abort_open_calls_itself(make, store, counted):
    loop = make("done", "done too")
    await leave(store, "s", *OPEN)
    assert (await loop.send("hi", "s", on_pending="resume")).final_text == "done"
    assert await roles(loop, "s") == ["user", "assistant", "tool", "tool", "user", "assistant"]
    await leave(store, "t", *OPEN)
    counted.runs.clear()
    assert (await loop.send("hi", "t", on_pending="abort")).final_text == "done too"
    assert counted.runs == []


async def test_abort_pending_answers_each_call_and_resume_then_calls_the_model(make, store, counted):
    loop = make("fine")
    await leave(store, "s", *OPEN)
    assert await loop.abort_pending("s", reason="too risky") == 2
    results = [m["content"] for m in await loop.get_messages("s") if m["role"] == "tool"]
    assert results == ["<aborted: too risky>"] * 2
    assert await loop.get_pending("s") is None
    assert (await loop.resume("s")).final_text == "fine"
    assert counted.runs == []


# -- reconcile


@pytest.mark.parametrize(("told", "ran"), [("it went through", False), (None, True)])
async def test_reconcile_is_asked_what_became_of_a_once_call(store, told, ran):
    runs = []

    @tool(reconcile=lambda _context, _arguments: told)
    async def pay(n: int) -> str:
        """Pay."""
        runs.append(n)
        return "paid now"

    loop = StatefulAgentLoop(llm=ScriptedLLM("done"), store=store, tools=[pay])
    await leave(store, "s", *begun("pay"), asks(("pay", {"n": 1})), ToolStarted("call_5_0", "pay", "once", 1, "k"))
    await loop.resume("s")
    results = [m["content"] for m in await loop.get_messages("s") if m["role"] == "tool"]
    assert results == [told or "paid now"]
    assert bool(runs) is ran


# -- pending_tools


async def test_a_tool_without_handler_leaves_the_session_waiting(store):
    registry = ToolRegistry()
    registry.register(ToolDefinition("elsewhere", "Runs in another system."), None)
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("elsewhere"))), store=store, tool_registry=registry)
    result = await loop.send("go")
    assert result.status == "pending_tools"
    assert [c.name for c in result.pending_tool_calls] == ["elsewhere"]
    info = (await loop.list_sessions())[0]
    assert (info.status, bool(info.waiting_for)) == ("pending_tools", True)
    entries = len(await store.read(result.session_id))
    assert (await loop.resume(result.session_id)).status == "pending_tools"
    assert len(await store.read(result.session_id)) == entries
    with pytest.raises(SessionPendingError):
        await loop.send("hi", result.session_id)
    assert await loop.abort_pending(result.session_id) == 1


async def test_a_tool_offered_before_and_not_registered_here_waits_for_a_process_that_has_it(make, store, counted):
    await leave(store, "s", *OPEN)
    poor = make(tools=[])
    assert (await poor.resume("s")).status == "pending_tools"
    rich = make("done")
    assert (await rich.resume("s")).final_text == "done"
    assert sorted(counted.runs) == ["look 1", "pay 2"]


# -- busy


async def test_two_sends_in_one_process_wait_for_each_other(make, store):
    gate = asyncio.Event()

    async def slow(_request):
        await gate.wait()
        return "first"

    loop = make(slow, "second")
    session = await loop.new_session()
    one = asyncio.create_task(loop.send("a", session))
    two = asyncio.create_task(loop.send("b", session))
    while loop.llm.calls == 0:
        await asyncio.sleep(0)
    with pytest.raises(SessionBusy):
        await loop.send("c", session, on_busy="raise")
    gate.set()
    assert [(await one).final_text, (await two).final_text] == ["first", "second"]
    assert await roles(loop, session) == ["user", "assistant", "user", "assistant"]


async def test_a_session_that_another_driver_holds_is_refused_before_anything_is_paid(make, store):
    loop = make("never said")
    session = await loop.new_session()
    record = await store.get(session)
    now = SYSTEM_CLOCK.now()
    held = Append(
        session, record.epoch, record.head_seq, record.head_digest, (), (), Claim("driver_other", now.plus(30), now)
    )
    await store.append(held)
    for verb in (
        loop.send("hi", session),
        loop.resume(session),
        loop.abort_pending(session),
        loop.close_session(session),
    ):
        with pytest.raises(SessionBusy) as caught:
            await verb
        assert caught.value.owner == "driver_other"
    assert loop.llm.calls == 0
    assert (await loop.list_sessions())[0].status == "running"


# -- inbox


async def test_an_input_that_waits_at_the_end_keeps_the_run_going(make, store):
    async def meanwhile(_request):
        body = encode(InputReceived("one more thing"))
        await store.enqueue("s", "input", body, now=1)
        return "first"

    loop = make(meanwhile, "second")
    await loop.new_session("s")
    result = await loop.send("hi", "s")
    assert result.final_text == "second"
    assert await roles(loop, "s") == ["user", "assistant", "user", "assistant"]
    assert await store.inbox("s") == () or not await store.inbox("s")


async def test_a_cancel_of_an_ended_run_is_void(make, store):
    loop = make("one", "two")
    first = await loop.send("a")
    await store.enqueue(first.session_id, "cancel", "late", run=1, now=1)
    assert (await loop.send("b", first.session_id)).status == "completed"
    assert not await store.inbox(first.session_id)


# -- cancel


async def test_cancel_ends_a_model_call_and_the_session_goes_on(make, store):
    async def hangs(_request):
        await asyncio.Event().wait()

    loop = make(hangs, "later")
    session = await loop.new_session()
    task = asyncio.create_task(loop.send("hi", session))
    while loop.llm.calls == 0:
        await asyncio.sleep(0)
    assert await loop.cancel(session, reason="enough")
    result = await task
    assert (result.status, result.final_text) == ("cancelled", "[cancelled: enough]")
    assert not await loop.cancel(session)
    assert not await store.inbox(session)
    assert (await loop.resume(session)).final_text == "later"


async def test_a_stop_event_that_cannot_call_back_is_noticed(make):
    flag = []

    async def hangs(_request):
        flag.append(True)
        await asyncio.Event().wait()

    loop = make(hangs)
    result = await loop.send("hi", stop_event=lambda: bool(flag))
    assert result.status == "cancelled"


# -- other verbs


async def test_close_session_deletes(make):
    loop = make("hello")
    result = await loop.send("hi")
    assert await loop.close_session(result.session_id) == 1
    assert await loop.close_session(result.session_id) == 0
    with pytest.raises(SessionNotFoundError):
        await loop.get_messages(result.session_id)


async def test_usage_and_cost_are_counted_per_answer_and_in_total(make):
    loop = make(reply("one", cost="0.10"), reply("two", cost="0.20"))
    first = await loop.send("a")
    second = await loop.send("b", first.session_id)
    assert (second.usage.total_tokens, str(second.cost)) == (15, "0.20")
    report = await loop.get_usage(first.session_id)
    assert (report.total.total_tokens, str(report.cost), len(report.rounds)) == (30, "0.30", 2)


async def test_two_loops_on_one_store_see_each_others_work(make, store):
    one, two = make("a", "c"), make("b")
    session = (await one.send("1")).session_id
    await two.send("2", session)
    assert (await one.send("3", session)).final_text == "c"
    assert await roles(one, session) == ["user", "assistant"] * 3


async def test_the_numbers_of_a_journal_have_no_gap(make, store):
    loop = make(reply("", call("look", n=1), call("nope"), call("pay", n="x")), "done")
    session = (await loop.send("go")).session_id
    entries = await store.read(session)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry.run for entry in entries} == {0, 1}


# -- bad input


@pytest.mark.parametrize("bad", ["", "   ", [], b"bytes", 5, None, {"role": "wizard", "content": "x"}, {"content": 5}])
async def test_input_that_cannot_be_taken_is_refused_before_anything_is_written(make, bad):
    loop = make("never")
    with pytest.raises(InvalidInputError):
        await loop.send(bad)
    assert await loop.list_sessions() == []


async def test_tool_results_cannot_be_smuggled_in(make):
    with pytest.raises(InvalidInputError):
        await make().send({"role": "tool", "content": "x", "tool_call_id": "1"})


@pytest.mark.parametrize("verb", ["send", "resume", "abort_pending", "get_messages", "get_pending", "get_usage"])
async def test_an_unknown_session_is_named(make, verb):
    loop = make("x")
    arguments = ("hi", "sess_nope") if verb == "send" else ("sess_nope",)
    with pytest.raises(SessionNotFoundError, match="sess_nope"):
        await getattr(loop, verb)(*arguments)


@pytest.mark.parametrize(
    "wrong",
    [{"max_rounds": 0}, {"max_rounds": "many"}, {"temperature": 3}, {"max_tokens": 0}, {"max_parallel_tools": 0}],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AgentLoopConfig(**wrong)


def test_a_loop_needs_a_model():
    with pytest.raises(ConfigError, match="llm"):
        StatefulAgentLoop(llm=42)


async def test_hostile_text_is_cleaned_and_flagged(make, store):
    loop = make("a\x00b\ud800c")
    session = (await loop.send("x\ud800y\x00z")).session_id
    messages = await loop.get_messages(session)
    assert [m["content"] for m in messages] == ["x\ufffdy\ufffdz", "a\ufffdb\ufffdc"]
    flagged = [e.fact.cleaned for e in await store.read(session) if e.kind in {"input_received", "model_replied"}]
    assert flagged == [True, True]


async def test_limits_are_recorded_with_the_run(make, store):
    loop = make("x", config=AgentLoopConfig(max_rounds=7))
    session = (await loop.send("hi")).session_id
    started = next(e.fact for e in await store.read(session) if isinstance(e.fact, RunStarted))
    assert started.limits == Limits(max_rounds=7)
    assert isinstance((await store.read(session))[-1].fact, RunEnded)


async def test_input_that_came_when_nobody_drove_is_shown_and_answered_by_resume(make, store):
    loop = make("first", "second")
    session = (await loop.send("a")).session_id
    await store.enqueue(session, "input", encode(InputReceived("b")), now=1)
    assert "inbox" in (await loop.list_sessions())[0].waiting_for
    assert await loop.abort_pending(session) == 0
    assert (await loop.resume(session)).final_text == "second"
    assert await roles(loop, session) == ["user", "assistant", "user", "assistant"]
    assert not await store.inbox(session)
    assert (await loop.list_sessions())[0].waiting_for == ""
    assert (await loop.resume(session)).final_text == "second"
    assert loop.llm.calls == 2
