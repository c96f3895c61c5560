"""Nothing is told, paid or done before it is durable; and what identifies a call stays the same."""

import asyncio
import contextlib

import pytest

from power_loop import AgentEventBus, MemoryStore, StatefulAgentLoop, ToolContext, tool
from power_loop.engine import run_tools
from power_loop.facts.chain import seal_all
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import (
    DefinitionChanged,
    InputReceived,
    Limits,
    ModelCalled,
    ModelReplied,
    RecordedCall,
    RunStarted,
    ToolStarted,
)
from power_loop.facts.ids import idempotency_key
from power_loop.ports.store import Append, Claim, NewSession
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore


async def test_nobody_hears_of_an_entry_before_it_is_durable():
    heard: list[int] = []

    def look(point: CommitPoint) -> None:
        if point.operation == "append" and point.moment == "before" and point.entries:
            early.extend(seq for seq in heard if seq >= point.entries[0].seq)
            commits.append(point.kinds)

    early: list[int] = []
    commits: list[tuple[str, ...]] = []
    bus = AgentEventBus()
    bus.subscribe(None, lambda event: heard.append(event.seq) if event.seq is not None else None)

    @tool
    async def act() -> str:
        """Act."""
        return "acted"

    store = CrashingStore(MemoryStore(), look)
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("act")), "x"), store=store, tools=[act], event_bus=bus)
    await loop.send("go")
    assert early == []
    assert len(commits) >= 4
    assert heard


async def test_calls_of_model_and_tools_are_durable_before_they_are_made():
    store = MemoryStore()
    seen: list[str] = []

    async def ask(_request):
        seen.append((await store.read("s"))[-1].kind)
        return reply("", call("act")) if len(seen) == 1 else "done"

    @tool
    async def act() -> str:
        """Act."""
        seen.append((await store.read("s"))[-1].kind)
        return "acted"

    loop = StatefulAgentLoop(llm=ScriptedLLM(ask, ask), store=store, tools=[act])
    await loop.new_session("s")
    await loop.send("go", "s")
    assert seen == ["model_called", "tool_started", "model_called"]


@pytest.mark.parametrize("recorded", ["a key of an older release", ""])
async def test_every_attempt_hands_out_the_key_of_the_first(recorded):
    store, now = MemoryStore(), SYSTEM_CLOCK.now()
    seen: list[tuple[str, int]] = []

    @tool(effect="idempotent")
    async def put(context: ToolContext) -> str:
        """Put."""
        seen.append((context.idempotency_key, context.attempt))
        return "put"

    record = await store.create(NewSession("s", now.wall_ms))
    offered = DefinitionChanged("old", None, (put.definition.to_openai_tool(),))
    facts = [
        InputReceived("q"), RunStarted(Limits()), offered, ModelCalled(),
        ModelReplied(calls=(RecordedCall("w", "put"),)),
    ]  # fmt: skip
    if recorded:
        facts += [ToolStarted("call_5_0", "put", "idempotent", 1, recorded)]
    entries = seal_all(facts, head_seq=0, head_digest=record.head_digest, run=1, round_=0, time=1)
    claim = Claim(store.owner, now.plus(30), now)
    await store.append(Append("s", 0, 0, record.head_digest, entries, (), claim, release=True))
    await StatefulAgentLoop(llm=ScriptedLLM("done"), store=store, tools=[put]).resume("s")
    started = [entry.fact for entry in await store.read("s") if isinstance(entry.fact, ToolStarted)]
    first = recorded or idempotency_key("s", "call_5_0")
    assert seen == [(first, len(started))]
    assert [fact.key for fact in started] == [first, *([""] * (len(started) - 1))]


async def test_a_definition_is_recorded_whenever_it_changes_and_only_then():
    @tool
    async def one() -> str:
        """One."""
        return "1"

    @tool
    async def two() -> str:
        """Two."""
        return "2"

    store = MemoryStore()
    first = StatefulAgentLoop(llm=ScriptedLLM("a", "b"), store=store, tools=[one])
    second = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("two")), "d"), store=store, tools=[one, two])
    session = (await first.send("1")).session_id
    await first.send("2", session)
    await second.send("3", session)
    entries = await store.read(session)
    names = [
        [made["function"]["name"] for made in entry.fact.tools]
        for entry in entries
        if isinstance(entry.fact, DefinitionChanged)
    ]
    assert names == [["one"], ["one", "two"]]
    assert (await second.get_messages(session))[-2]["content"] == "2"


async def test_a_result_behind_the_grace_of_a_cancel_is_discarded(monkeypatch):
    monkeypatch.setattr(run_tools, "CANCEL_GRACE", 0.02)
    begun, release, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @tool
    async def deaf() -> str:
        """Hear no cancel."""
        begun.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        over.set()
        return "too late"

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("deaf")), "fine"), store=MemoryStore(), tools=[deaf])
    session = await loop.new_session()
    task = asyncio.create_task(loop.send("go", session))
    await begun.wait()
    await loop.cancel(session)
    assert (await task).status == "cancelled"
    before = await loop.store.read(session)
    release.set()
    await over.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await loop.send("again", session)).final_text == "fine"
    after = await loop.store.read(session)
    assert after[: len(before)] == before
    assert [entry.kind for entry in after[len(before) :]].count("tool_finished") == 0
    assert "whether deaf took effect is unknown" in (await loop.get_messages(session))[2]["content"]
