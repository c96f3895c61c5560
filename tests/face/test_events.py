"""Events: live, from the journal, on the bus, through sinks; and what happens to those who watch badly."""

import asyncio

import pytest
from left_behind import asks, begun, leave

from power_loop import (
    AgentEventBus,
    AgentEventType,
    AgentLoopConfig,
    LLMRateLimited,
    LLMRetryPolicy,
    NullSink,
    StatefulAgentLoop,
    TextDelta,
    ToolContext,
    tool,
)
from power_loop.facts.journal import FACTS
from power_loop.testing import ScriptedLLM, call, reply

QUICK = LLMRetryPolicy(max_attempts=2, backoff_initial=0, backoff_max=0)


@tool(effect="read")
async def look(context: ToolContext, n: int) -> str:
    """Look."""
    context.progress(f"looking at {n}")
    return f"saw {n}"


@pytest.fixture
def make(store):
    def made(*lines, **options):
        options.setdefault("config", AgentLoopConfig(retry_policy=QUICK))
        return StatefulAgentLoop(llm=ScriptedLLM(*lines, chunk=2), store=store, tools=[look], **options)

    return made


SCRIPT = (LLMRateLimited("slow down"), reply("let me look", call("look", n=1), call("nope")), "done")


async def test_a_stream_tells_everything_in_order_and_has_the_result(make):
    stream = make(*SCRIPT).stream("go")
    events = [event async for event in stream]
    assert stream.result.final_text == "done"
    durable = [event.seq for event in events if event.durable]
    assert durable == sorted(durable)
    kinds = [str(event.type) for event in events]
    for kind in (
        "session_started", "round_started", "llm_retry_attempted", "stream_started", "stream_delta",
        "stream_tool_delta", "stream_completed", "usage_updated", "status_changed", "round_tools_present",
        "tool_call_started", "tool_progress", "tool_call_failed", "tool_call_completed", "round_completed",
        "session_ended",
    ):  # fmt: skip
        assert kind in kinds, kind
    assert kinds[-1] == "session_ended"


async def test_deltas_carry_their_attempt_and_add_up_to_the_reply(make):
    events = [event async for event in make(*SCRIPT).stream("go")]
    deltas = [event for event in events if event.type is AgentEventType.STREAM_DELTA]
    assert all(event.seq is None for event in deltas)
    assert "".join(event.payload["text"] for event in deltas if event.round_index == 0) == "let me look"
    assert {event.attempt for event in deltas if event.round_index == 0} == {2}


async def test_the_first_delta_arrives_before_the_model_has_finished(make, store):
    arrived = asyncio.Event()

    class Waits:
        async def complete(self, _request, *, on_delta):
            on_delta(TextDelta("first"))
            await arrived.wait()
            return reply("first and last")

        async def close(self):
            pass

    loop = StatefulAgentLoop(llm=Waits(), store=store)
    async for event in loop.stream("go"):
        if event.type is AgentEventType.STREAM_DELTA:
            arrived.set()
    assert arrived.is_set()


async def test_the_journal_tells_the_same_durable_events_as_the_stream(make):
    loop = make(*SCRIPT)
    stream = loop.stream("go")
    live = [event async for event in stream if event.durable]
    told = [event async for event in loop.events(stream.result.session_id)]
    assert told[-len(live) :] == live


async def test_events_can_be_taken_up_anywhere_without_loss_or_repetition(make):
    loop = make(*SCRIPT)
    session = (await loop.send("go")).session_id
    every = [event async for event in loop.events(session)]
    last = every[-1].seq
    for seq in range(last + 1):
        rest = [event async for event in loop.events(session, after=seq)]
        assert rest == [event for event in every if event.seq > seq]


async def test_following_sees_what_comes_later(make):
    loop = make("one", "two")
    session = (await loop.send("1")).session_id
    ends = []

    async def follow():
        async for event in loop.events(session, follow=True):
            if event.type is AgentEventType.SESSION_ENDED:
                ends.append(event.seq)
                if len(ends) == 2:
                    return

    follower = asyncio.create_task(follow())
    await loop.send("2", session)
    await follower
    assert len(ends) == 2


async def test_leaving_a_stream_cancels_its_run(make, store):
    left = []

    async def hangs(_request):
        if left:
            return "after"
        return await asyncio.Event().wait()

    loop = make(hangs, hangs)
    session = await loop.new_session()
    stream = loop.stream("go", session)
    async for event in stream:
        if event.type is AgentEventType.STREAM_STARTED:
            break
    await stream.aclose()
    left.append(True)
    assert (await loop.list_sessions())[0].status == "cancelled"
    assert (await loop.resume(session)).final_text == "after"


async def test_every_kind_of_entry_is_told(make, store):
    loop = make(*SCRIPT)
    session = (await loop.send("go")).session_id
    told = {event.seq async for event in loop.events(session)}
    assert told == {entry.seq for entry in await store.read(session)}
    assert {entry.kind for entry in await store.read(session)} <= set(FACTS)


async def test_the_bus_hears_sync_and_async_subscribers_by_priority(make):
    bus, heard = AgentEventBus(), []
    bus.subscribe("session_ended", lambda event: heard.append(("typed", event.payload["reason"])), priority=-1)

    async def later(event):
        await asyncio.sleep(0)
        heard.append(("async", str(event.type)))

    bus.subscribe(AgentEventType.SESSION_STARTED, later)
    bus.subscribe(None, lambda event: heard.append("all") if event.type is AgentEventType.SESSION_ENDED else None)
    await make("hi", event_bus=bus).send("go")
    assert heard.index("all") < heard.index(("typed", "completed"))
    assert ("async", "session_started") in heard
    bus.unsubscribe(later)


async def test_a_subscriber_that_raises_breaks_nothing(make, caplog):
    bus = AgentEventBus()

    def bad(_event):
        raise RuntimeError("subscriber bug")

    async def worse(_event):
        raise RuntimeError("async subscriber bug")

    bus.subscribe(None, bad)
    bus.subscribe(None, worse)
    assert (await make("hi", event_bus=bus).send("go")).status == "completed"
    assert "subscriber bug" in caplog.text


async def test_a_sink_hears_messages_rounds_and_calls(make):
    heard = []

    class Sink(NullSink):
        def on_round_started(self, round_index):
            heard.append(("round", round_index))

        def on_message_appended(self, message, *, round_index):
            heard.append((message["role"], message["content"]))

        def on_assistant_tool_calls(self, *, assistant_seq, tool_calls, round_index):
            heard.append(("calls", [c["function"]["name"] for c in tool_calls]))

        def on_round_ended(self, round_index, *, usage=None):
            heard.append(("ended", usage["input_tokens"]))

    await make(reply("", call("look", n=1)), "done", sink=Sink()).send("go")
    assert heard == [
        ("user", "go"), ("round", 0), ("assistant", ""), ("calls", ["look"]), ("tool", "saw 1"), ("ended", 10),
        ("round", 1), ("assistant", "done"), ("ended", 10),
    ]  # fmt: skip


async def test_a_sink_that_raises_breaks_nothing(make, caplog):
    class Sink(NullSink):
        def on_round_started(self, round_index):
            raise RuntimeError("sink bug")

    assert (await make("hi", sink=Sink()).send("go")).status == "completed"
    assert "sink bug" in caplog.text


async def test_a_resumed_run_tells_the_calls_of_the_reply_before_the_crash(make, store):
    await leave(store, "s", *begun("look"), asks(("look", {"n": 7})))
    bus, heard = AgentEventBus(), []
    bus.subscribe(AgentEventType.TOOL_CALL_STARTED, lambda event: heard.append(event.payload))
    told = []

    class Sink(NullSink):
        def on_message_appended(self, message, *, round_index):
            told.append(message.get("tool_call_id"))

    loop = make("done", event_bus=bus, sink=Sink())
    stream = loop.stream("and?", "s", on_pending="resume")
    started = [event.payload async for event in stream if event.type is AgentEventType.TOOL_CALL_STARTED]
    assert started == heard == [{"name": "look", "tool_input": {"n": 7}, "tool_call_id": "w0"}]
    assert "w0" in told


async def test_a_subscriber_that_never_ends_does_not_hold_a_run_up(make, monkeypatch, caplog):
    bus, release = AgentEventBus(), asyncio.Event()
    bus.subscribe("session_ended", lambda _event: release.wait())
    monkeypatch.setattr(AgentEventBus.drain, "__defaults__", (0.01,))
    assert (await make("hi", event_bus=bus).send("go")).status == "completed"
    assert "still at work" in caplog.text
    release.set()
