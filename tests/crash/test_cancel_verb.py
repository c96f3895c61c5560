"""P15: cancel. No new start after the acknowledgement, a valid session afterwards, no process left behind."""

import asyncio
import contextlib
import sys
import threading
from pathlib import Path

import pytest
from crash_checks import problems
from crash_world import SESSION, World

from power_loop import AgentLoopConfig, StatefulAgentLoop, ToolContext, tool
from power_loop.engine import run_tools
from power_loop.facts.chain import verify
from power_loop.ports.store import SessionStore
from power_loop.stores import MemoryStore, SqliteStore
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore

ENQUEUE = """
import asyncio, sys
from power_loop.stores import SqliteStore

async def main(path, kind, run, body):
    store = SqliteStore(path)
    await store.enqueue("s", kind, body, run=int(run), now=1)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def enqueue_from_another_process(path: str, kind: str, run: int, body: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ENQUEUE, path, kind, str(run), body)
    assert await process.wait() == 0


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sessions.db")
    yield store
    await store.close()


async def valid(store: SessionStore) -> list[str]:
    """Check the journal and that nobody holds the session; return the kinds of its entries."""
    record, entries = await store.load(SESSION)
    verify(entries, base_seq=0, base=record.base_digest, head_seq=record.head_seq, head=record.head_digest)
    assert record.lease is None
    return [entry.kind for entry in entries]


async def test_during_a_model_call(store: SessionStore) -> None:
    called = asyncio.Event()

    async def never(_request) -> str:
        called.set()
        await asyncio.Event().wait()
        return "never"

    loop = StatefulAgentLoop(llm=ScriptedLLM(never, "there you are"), store=store)
    await loop.new_session(SESSION)
    running = asyncio.create_task(loop.send("hello", SESSION))
    await called.wait()
    assert await loop.cancel(SESSION, reason="enough")
    result = await running
    assert (result.status, result.final_text) == ("cancelled", "[cancelled: enough]")
    assert await valid(store) == [
        "session_opened", "input_received", "run_started", "definition_changed", "model_called", "model_failed",
        "cancelled", "run_ended",
    ]  # fmt: skip
    assert (await loop.resume(SESSION)).final_text == "there you are"
    assert not await loop.cancel(SESSION)


async def test_a_thread_that_cannot_be_stopped_is_abandoned_and_its_late_result_discarded(store: SessionStore) -> None:
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    @tool(effect="once")
    def stubborn(ctx: ToolContext) -> str:
        """Work without looking up."""
        begun.set()
        gate.wait()
        ended.set()
        return "late"

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("stubborn")), "fine"), tools=[stubborn], store=store)
    await loop.new_session(SESSION)
    running = asyncio.create_task(loop.send("hello", SESSION))
    await asyncio.to_thread(begun.wait)
    await loop.cancel(SESSION)
    assert (await running).status == "cancelled"
    before = await store.read(SESSION)
    gate.set()
    await asyncio.to_thread(ended.wait)
    assert await store.read(SESSION) == before
    (told,) = [m["content"] for m in await loop.get_messages(SESSION) if m["role"] == "tool"]
    assert told.startswith("<cancelled while running")
    assert (await loop.send("and now?", SESSION)).final_text == "fine"
    await valid(store)


async def test_a_tool_that_ignores_its_cancel_is_abandoned_too(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tools, "CANCEL_GRACE", 0.05)
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @tool(effect="once")
    async def stubborn() -> str:
        """Go on whatever anybody says."""
        begun.set()
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        ended.set()
        return "late"

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("stubborn")), "fine"), tools=[stubborn], store=store)
    await loop.new_session(SESSION)
    running = asyncio.create_task(loop.send("hello", SESSION))
    await begun.wait()
    await loop.cancel(SESSION)
    assert (await running).status == "cancelled"
    before = await store.read(SESSION)
    gate.set()
    await ended.wait()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
    assert await store.read(SESSION) == before
    assert (await loop.send("and now?", SESSION)).final_text == "fine"
    told = [m["content"] for m in await loop.get_messages(SESSION) if m["role"] == "tool"]
    assert len(told) == 1
    assert told[0].startswith("<cancelled while running")
    await valid(store)


async def test_a_queued_call_was_never_started(store: SessionStore) -> None:
    begun = asyncio.Event()
    ran: list[str] = []

    @tool(exclusive=True)
    async def wait(name: str) -> str:
        """Wait."""
        ran.append(name)
        begun.set()
        await asyncio.Event().wait()
        return "never"

    llm = ScriptedLLM(reply("", call("wait", name="first"), call("wait", name="second")))
    loop = StatefulAgentLoop(llm=llm, tools=[wait], store=store)
    await loop.new_session(SESSION)
    running = asyncio.create_task(loop.send("hello", SESSION))
    await begun.wait()
    await loop.cancel(SESSION)
    await running
    first, second = [m["content"] for m in await loop.get_messages(SESSION) if m["role"] == "tool"]
    assert (ran, second) == (["first"], "<cancelled before it started>")
    assert first.startswith("<cancelled while running")
    assert (await valid(store)).count("tool_started") == 1


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


async def test_processes_of_tools_are_gone_when_the_run_is(store: SessionStore, tmp_path: Path) -> None:
    """The whole tree: the child that ignores SIGTERM, and the orphan in a session of its own."""
    note = tmp_path / "pids"
    script = f"trap '' TERM; setsid sleep 1000 & echo $! > {note}.1; echo $$ > {note}.0; mv {note}.0 {note}; sleep 1000"

    @tool(effect="once")
    async def run(ctx: ToolContext) -> str:
        """Run a program."""
        return (await ctx.run_process(["/bin/sh", "-c", script])).stdout

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("run")), "fine"), tools=[run], store=store)
    await loop.new_session(SESSION)
    running = asyncio.create_task(loop.send("hello", SESSION))
    while not note.exists():
        await asyncio.sleep(0.005)
    pids = [int(note.read_text()), int(Path(f"{note}.1").read_text())]
    assert all(map(alive, pids))
    await loop.cancel(SESSION)
    assert (await running).status == "cancelled"
    assert not any(map(alive, pids))
    assert (await loop.send("again", SESSION)).status == "completed"


@pytest.mark.parametrize("kind", ["tool_started", "model_called"])
async def test_a_cancel_from_another_process_stops_the_very_next_start(tmp_path: Path, kind: str) -> None:
    """It became durable before the start could: the start is refused, although nobody here has heard of it yet."""
    world = World(tmp_path, "talk")
    await world.loop.new_session(SESSION)
    watch = world.store.on_commit
    at = {"tool_started": 1, "model_called": 2}[kind]
    seen = 0

    async def on_commit(point: CommitPoint) -> None:
        nonlocal seen
        if kind in point.kinds and point.moment == "before":
            seen += 1
            if seen == at:
                await enqueue_from_another_process(world.store.path, "cancel", 1, "from afar")
        watch(point)

    world.store.on_commit = on_commit
    result = await world.loop.send("begin", SESSION)
    assert (result.status, result.final_text) == ("cancelled", "[cancelled: from afar]")
    assert world.ledger.count("begun") == (0 if kind == "tool_started" else 3)
    assert world.ledger.count("model") == 1
    told = [m["content"] for m in await world.loop.get_messages(SESSION) if m["role"] == "tool"]
    assert told == ["<cancelled before it started>"] * 3 if kind == "tool_started" else all("done" in t for t in told)
    assert await world.store.inbox(SESSION) == []
    world.store.on_commit = watch
    await world.loop.resume(SESSION)
    assert await problems(world, None) == []
    await world.store.close()


async def test_a_cancel_for_an_ended_run_is_void(store: SessionStore) -> None:
    loop = StatefulAgentLoop(llm=ScriptedLLM("one", "two"), store=store)
    await loop.new_session(SESSION)
    await loop.send("hello", SESSION)
    await store.enqueue(SESSION, "cancel", "too late", run=1, now=1)
    assert (await loop.send("again", SESSION)).final_text == "two"
    assert await store.inbox(SESSION) == []
    assert "cancelled" not in await valid(store)


async def test_a_result_that_arrives_while_a_start_is_refused_is_kept(store: SessionStore) -> None:
    """One tool's start meets a cancel; while the commands are fetched a sibling returns. Nothing is lost or bent."""
    one, two = asyncio.Event(), asyncio.Event()
    returned = asyncio.Event()

    @tool(effect="once")
    async def work(name: str) -> str:
        """Work."""
        if name == "b":
            await two.wait()
            returned.set()
        else:
            await one.wait()
        return f"{name} done"

    class Slow(CrashingStore):
        async def inbox(self, session_id: str):
            rows = await super().inbox(session_id)
            if rows:
                two.set()
                await returned.wait()
                await asyncio.sleep(0)
            return rows

    async def on_commit(point: CommitPoint) -> None:
        if "tool_started" in point.kinds and point.moment == "after":
            await store.enqueue(SESSION, "cancel", "stop", run=1, now=1)
            one.set()

    llm = ScriptedLLM(reply("", *(call("work", name=name) for name in "abc")), "fine")
    two_at_once = AgentLoopConfig(max_parallel_tools=2)
    loop = StatefulAgentLoop(llm=llm, tools=[work], store=Slow(store, on_commit), config=two_at_once)
    await loop.new_session(SESSION)
    assert (await loop.send("go", SESSION)).status == "cancelled"
    kinds = await valid(store)
    assert kinds.count("tool_started") == 2
    told = [m["content"] for m in await loop.get_messages(SESSION) if m["role"] == "tool"]
    assert told == ["a done", "b done", "<cancelled before it started>"]
    assert (await loop.send("and?", SESSION)).final_text == "fine"
