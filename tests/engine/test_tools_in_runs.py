"""Tools inside a run: bad ones, slow ones, parallel ones, and what is recorded of them."""

import asyncio
import threading
import time

import pytest

from power_loop import AgentLoopConfig, StatefulAgentLoop, ToolContext, ToolHandlerResult, current_session_id, tool
from power_loop.facts.entries import ModelReplied, ToolFinished, ToolStarted
from power_loop.testing import ScriptedLLM, call, reply


def loop_with(*tools, calls, **config):
    llm = ScriptedLLM(reply("", *calls), "done")
    return StatefulAgentLoop(llm=llm, tools=list(tools), db_path=":memory:", config=AgentLoopConfig(**config))


async def results(loop):
    result = await loop.send("go")
    assert result.final_text == "done"
    return [m["content"] for m in await loop.get_messages(result.session_id) if m["role"] == "tool"]


async def outcomes(loop, session=None):
    session = session or (await loop.list_sessions())[0].session_id
    return [e.fact.outcome for e in await loop.store.read(session) if isinstance(e.fact, ToolFinished)]


async def test_what_a_tool_raises_the_model_is_told():
    @tool
    def bad() -> str:
        """Bad."""
        raise LookupError("no such dish")

    assert await results(loop_with(bad, calls=[call("bad")])) == ["Error: LookupError: no such dish"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, StopIteration])
async def test_a_tool_cannot_end_the_process(kind):
    @tool
    def bad() -> str:
        """Bad."""
        raise kind("bye")

    (text,) = await results(loop_with(bad, calls=[call("bad")]))
    assert text.startswith("Error")


async def test_bytes_are_refused_in_words_that_help():
    @tool
    def raw() -> bytes:
        """Raw."""
        return b"\x00\x01"

    (text,) = await results(loop_with(raw, calls=[call("raw")]))
    assert "bytes" in text
    assert "text" in text


async def test_a_huge_result_is_cut_with_head_and_tail_kept():
    @tool
    def huge() -> str:
        """Huge."""
        return "H" + "x" * 300_000_000 + "T"

    (text,) = await results(loop_with(huge, calls=[call("huge")]))
    assert len(text) <= 50_200
    assert text[0] == "H"
    assert text[-1] == "T"


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_tool_that_never_returns_ends_at_its_timeout(blocking):
    release = threading.Event()

    @tool(timeout=0.05)
    def blocks() -> str:
        """Block."""
        release.wait(30)
        return "late"

    @tool(timeout=0.05)
    async def hangs() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "never"

    chosen = blocks if blocking else hangs
    loop = loop_with(chosen, calls=[call(chosen.definition.name)])
    (text,) = await results(loop)
    release.set()
    assert "0.05 s" in text
    assert await outcomes(loop) == ["timeout"]


async def test_arguments_that_do_not_fit_never_reach_the_tool():
    ran = []

    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        ran.append((a, b))
        return a + b

    bad = [
        reply("", call("add", a="x", b=2)).tool_calls[0],
        call("add", a=1),
        type(call("add"))("i3", "add", "{not json"),
        type(call("add"))("i4", "add", '{"a": NaN, "b": 1}'),
        type(call("add"))("i5", "add", "[1, 2]"),
        call("add", a=1, b=2),
    ]
    loop = loop_with(add, calls=bad)
    texts = await results(loop)
    assert ran == [(1, 2)]
    assert all(text.startswith("Error") for text in texts[:5])
    assert texts[5] == "3"
    entries = await loop.store.read((await loop.list_sessions())[0].session_id)
    assert sum(isinstance(e.fact, ToolStarted) for e in entries) == 1
    recorded = next(e.fact for e in entries if isinstance(e.fact, ModelReplied))
    assert recorded.calls[2].raw == "{not json"


async def test_a_handler_may_say_that_it_failed():
    @tool
    def half() -> ToolHandlerResult:
        """Half."""
        return ToolHandlerResult(ok=False, content="could not")

    loop = loop_with(half, calls=[call("half")])
    assert await results(loop) == ["could not"]
    assert await outcomes(loop) == ["failed"]


async def test_tools_overlap_in_time_and_sync_ones_leave_the_event_loop_free():
    both = threading.Barrier(2, timeout=10)

    @tool
    def one() -> str:
        """One."""
        both.wait()
        return "1"

    @tool
    def two() -> str:
        """Two."""
        both.wait()
        return "2"

    assert await results(loop_with(one, two, calls=[call("one"), call("two")])) == ["1", "2"]


async def test_the_bound_on_parallel_tools_holds_and_queued_calls_are_not_started():
    now, most, started_at = 0, 0, []

    @tool
    async def work(n: int) -> str:
        """Work."""
        nonlocal now, most
        now += 1
        most = max(most, now)
        session = current_session_id()
        entries = await loop.store.read(session)
        started_at.append(sum(isinstance(e.fact, ToolStarted) for e in entries))
        await asyncio.sleep(0.01)
        now -= 1
        return str(n)

    loop = loop_with(work, calls=[call("work", n=n) for n in range(6)], max_parallel_tools=2)
    assert await results(loop) == [str(n) for n in range(6)]
    assert most == 2
    assert started_at[0] == 2


async def test_an_exclusive_tool_runs_alone():
    now, seen = set(), {}

    def made(name, *, exclusive):
        @tool(name=name, exclusive=exclusive)
        async def work() -> str:
            """Work."""
            now.add(name)
            seen[name] = set(now)
            await asyncio.sleep(0.01)
            seen[name] |= now
            now.discard(name)
            return name

        return work

    tools = [made("a", exclusive=False), made("x", exclusive=True), made("b", exclusive=False)]
    await results(loop_with(*tools, calls=[call("a"), call("x"), call("b")]))
    assert seen["x"] == {"x"}


async def test_each_result_is_durable_before_its_siblings_end():
    seen = []

    @tool
    async def quick() -> str:
        """Quick."""
        return "quick"

    @tool
    async def slow() -> str:
        """Slow."""
        session = current_session_id()
        while not seen:
            entries = await loop.store.read(session)
            seen.extend(e.fact.content for e in entries if isinstance(e.fact, ToolFinished))
            await asyncio.sleep(0)
        return "slow"

    loop = loop_with(slow, quick, calls=[call("slow"), call("quick")])
    assert await results(loop) == ["slow", "quick"]
    assert seen == ["quick"]


async def test_a_context_knows_its_call():
    seen = []

    @tool
    def know(context: ToolContext) -> str:
        """Know."""
        seen.append((context.session_id, context.call_id, context.idempotency_key, context.attempt))
        return current_session_id() or ""

    loop = loop_with(know, calls=[call("know")])
    (session,) = await results(loop)
    ((known, call_id, key, attempt),) = seen
    assert known == session
    assert key == f"{session}.{call_id}"
    assert attempt == 1


async def test_wire_ids_of_the_provider_are_kept_where_they_can_be():
    @tool
    def act() -> str:
        """Act."""
        return "ok"

    calls = [call("act", id="call_abc"), call("act", id="call_abc"), call("act", id="bad id!"), call("act")]
    loop = loop_with(act, calls=calls)
    await results(loop)
    ids = [m.tool_call_id for m in loop.llm.requests[1].messages[2:]]
    assert ids[0] == "call_abc"
    assert len(set(ids)) == 4
    assert all(len(i) <= 40 and i.replace("_", "").replace("-", "").isalnum() for i in ids)


async def test_a_late_result_of_a_cancelled_thread_is_discarded():
    entered, release = threading.Event(), threading.Event()

    @tool
    def stuck() -> str:
        """Stuck."""
        entered.set()
        release.wait(30)
        return "too late"

    loop = loop_with(stuck, calls=[call("stuck")])
    session = await loop.new_session()
    task = asyncio.create_task(loop.send("go", session))
    while not entered.is_set():
        await asyncio.sleep(0.001)
    await loop.cancel(session)
    result = await task
    assert result.status == "cancelled"
    before = await loop.store.read(session)
    release.set()
    time.sleep(0.05)
    await asyncio.sleep(0)
    assert await loop.store.read(session) == before
    assert await outcomes(loop, session) == ["cancelled"]
